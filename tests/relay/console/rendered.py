"""Pages without a server: a page's function is asked, and what it answers with is rendered and read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from html.parser import HTMLParser

from relay.console.answers import Answer, Asked, Page
from relay.console.rendering import Renderer
from relay.console.sign_in import SignedIn
from relay.store.operators import Role

ADA = SignedIn(operator="ada", role=Role.ACT, key="k")
EVE = SignedIn(operator="eve", role=Role.READ, key="e")
HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(1)><b hx-get="/x" style="color:red">"\'&'
_RENDERER = Renderer()


class Document(HTMLParser):
    """A document as it was parsed: its elements with their attributes, and its text with single spaces."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self._texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "dt", "dd"}:
            self._texts.append(" ")

    @property
    def text(self) -> str:
        """All text."""
        return " ".join("".join(self._texts).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """Return the attributes of each element of a kind that has these."""
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]

    def links(self) -> list[str]:
        """Return where its links lead."""
        return [each["href"] or "" for each in self.all("a") if "href" in each]

    def planted(self) -> list[str]:
        """Return what of `HOSTILE` became markup, which must be nothing."""
        names = [name for name, _ in self.elements if name in {"img", "b"}]
        scripts = [each for each in self.all("script") if "src" not in each]
        attributes = [
            name for _, found in self.elements for name in found if name in {"onerror", "style"} or name == "hx-get"
        ]
        return [*names, *(["script"] * len(scripts)), *attributes]


def asked(
    by: SignedIn = ADA,
    *,
    query: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    arguments: Mapping[str, str] | None = None,
) -> Asked:
    """Return a request."""
    return Asked(by=by, path="/console", nonce="n", query=query or {}, form=form or {}, arguments=arguments or {})


async def shown(
    function: Callable[[Asked], Awaitable[Answer]], by: SignedIn = ADA, *, query: Mapping[str, str] | None = None
) -> Document:
    """Ask a page's function, and return its page as the browser gets it."""
    answer = await function(asked(by, query=query))
    assert isinstance(answer, Page)
    frame = {"title": answer.title, "nonce": "n", "by": by, "path": "/console", "banner": None, "sections": ()}
    return Document(_RENDERER.render(answer.template, {**answer.values, **frame}))
