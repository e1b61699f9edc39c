"""HTML of values: one Jinja environment for all pages, and the headers that go with every answer.

All text is escaped, and a value that is missing is an error: tests find both. Not the web framework's own rendering,
which is asynchronous, and with which filters over lists fail; a page is a pure function of values here.

Templates get `static` (the path of one of our files), `vendored` (of a vendored script), `words` and its filters.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import attrs
import jinja2

from relay.console import words
from relay.console.static_files import StaticFiles
from relay.store.schema import timestamp

# Nothing comes from elsewhere, nothing inline runs, and no text can become markup but by htmx, whose elements must have
# the page's nonce. Referrer-Policy is not `no-referrer`: then browsers hide the origin of our own forms from us, too.
_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types htmx"
)
HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), on-device-speech-recognition=(self)",
    "Cache-Control": "no-store",
}


def headers_with(nonce: str) -> dict[str, str]:
    """Return the headers of a page, or of a part of one, whose scripts and htmx attributes have this nonce."""
    return {**HEADERS, "Content-Security-Policy": _POLICY.format(nonce=nonce)}


def new_nonce() -> str:
    """Return a nonce, for one answer."""
    return secrets.token_urlsafe(16)


@attrs.frozen(eq=False)
class Renderer:
    """Makes HTML. Raises Jinja's errors for what is wrong in a template, or missing among its values."""

    files: StaticFiles = attrs.field(factory=StaticFiles)
    environment: jinja2.Environment = attrs.field(init=False)

    @environment.default
    def _make(self) -> jinja2.Environment:
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("relay.console"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.globals.update(static=self.files.url, vendored=self.files.vendored, words=words)
        environment.filters.update(
            clock=words.clock,
            day=words.day,
            exact_clock=words.exact_clock,
            milliseconds=words.milliseconds,
            on_clock=words.on_clock,
            timestamp=timestamp,
        )
        return environment

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """Return the HTML of a template with these values."""
        return self.environment.get_template(template).render(values)

    def render_part(self, template: str, it: object) -> str:
        """Return the HTML of one value by the macro `part` of a template: takes half as long as `render`.

        Meant for what is rendered hundreds of times a second, the rows of live calls.
        """
        module: Any = self.environment.get_template(template).module
        html: str = module.part(it)
        return html
