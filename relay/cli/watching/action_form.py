"""What an operator sends to do something in a call: done once, however often it is sent until it is answered.

say, take, hand-back, transfer, hang-up ──send──▶ done | NotDone | Lost ──send again──▶ done once
"""

from __future__ import annotations

import secrets

import attrs

from relay.cli.watching.console_api import ConsoleApi, Lost, NotDone, State

NO_ANSWER = "No answer came: {}. Look whether it was done; sending it again does not do it twice."


@attrs.define(eq=False)
class ActionForm:
    """One kind of action in one call. Of what is sent one after the other, each is done."""

    api: ConsoleApi
    call_sid: str
    action: str
    # What was sent and not answered, and its key.
    _unanswered: tuple[dict[str, str], str] | None = attrs.field(default=None, init=False)

    async def send(self, **fields: str) -> State:
        """Do it; return what is answered, empty if it is just done.

        Raises `NotDone`, with the daemon's words; or where no answer comes, `Lost` with words that say what to do.
        Cancelled, it may have been done, as after `Lost`.
        """
        key = secrets.token_hex(16)
        if self._unanswered is not None and self._unanswered[0] == fields:
            key = self._unanswered[1]
        self._unanswered = (fields, key)
        try:
            answer = await self.api.act(self.call_sid, self.action, {**fields, "key": key})
        except NotDone:
            self._unanswered = None
            raise
        except Lost as lost:
            raise Lost(NO_ANSWER.format(lost)) from lost
        self._unanswered = None
        return answer
