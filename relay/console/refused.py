"""Why a request of the console is not served: raised where that shows, and made an answer of in one place."""

from __future__ import annotations


class Refused(Exception):
    """An answer instead of what was asked for. The text is for the operator: what is wrong, and what to do.

    `status` is HTTP's, `code` a snake_case word for programs. `retry_after` is in whole seconds. `field` is the form's
    field that the text is about. `reloads` asks the browser to load the page again, see `sign_in`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after: int | None = None,
        field: str = "",
        reloads: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.field = field
        self.reloads = reloads
