"""HTML of values: text stays text, every answer has its headers, a refusal has the form of its request."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import jinja2
import pytest

from relay.console.rendering import HEADERS, Renderer
from relay.console.static_files import StaticFiles
from relay.store.database import Database
from relay.store.operators import Role
from tests.relay.console.conftest import Console

HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(1)><b hx-get="/x" style="color:red">'


class Elements(HTMLParser):
    """The elements of a document: their names, and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs


PARTS = [
    "fact(text, text, text)",
    "answering('human', text)",
    "badge(text, 'warn', 'clock')",
    "opens('keys', text, 't')",
    "empty(text)",
    "note(text, 'bad')",
    "line('caller', text, text, text, cut=text, note=text)",
]


@pytest.mark.parametrize("part", PARTS)
def test_text_stays_text(part: str) -> None:
    """A part that is given markup has it as text, and no element or attribute of it."""
    renderer = Renderer()
    macro = part.partition("(")[0]
    html = renderer.environment.from_string(f'{{% from "parts.html" import {macro} %}}{{{{ {part} }}}}').render(
        text=HOSTILE
    )
    found = Elements(html)
    assert not {name for name, _ in found.attributes} & {"onerror", "hx-get", "style"}
    assert "script" not in found.names
    assert "img" not in found.names
    assert "&lt;script&gt;" in html


def test_a_missing_value_is_an_error() -> None:
    """A page never shows a hole where a value should be."""
    with pytest.raises(jinja2.UndefinedError):
        Renderer().render("refused_part.html", {"status": 404})


def test_every_template_can_be_read() -> None:
    """Every template is compiled, and has neither inline style, nor script, nor handler."""
    environment = Renderer().environment
    names = environment.list_templates()
    assert len(names) > 5
    for name in names:
        environment.get_template(name)
        assert environment.loader is not None
        source = environment.loader.get_source(environment, name)[0]
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|https?://", source), name


def test_own_files_ask_for_nothing_elsewhere() -> None:
    """Neither the style sheet nor a script of ours names another origin."""
    files = StaticFiles()
    for name in ("console.css", "console.js"):
        file = files.find(files.url(name).rpartition("/")[2])
        assert file is not None
        assert not re.search(rb"https?://|@import|url\(", file.content)


async def test_every_answer_has_its_headers(console: Console) -> None:
    """Pages, parts, errors, redirects, files and JSON: nothing is framed, guessed, referred to others, or kept."""
    without = await console.get("/console")
    assert without.status == 404
    await console.signed_in()
    answers = [
        await console.get("/console"),
        await console.get("/console/nowhere"),
        await console.get("/console/sign-in"),
        await console.get("/console/api/nowhere"),
        await console.post("/console/calls/CA1/hang-up", {}),
        await console.post("/console/calls/CA1/hang-up", {}, hx_request="true"),
        await console.get("/console/nowhere", hx_request="true"),
        await console.get("/console", cookie="x=y"),
        await console.get("/console", cookie="x=y", sec_fetch_site="cross-site", sec_fetch_mode="navigate"),
    ]
    for each in answers:
        assert {name: each.headers.get(name.lower()) for name in HEADERS} == HEADERS
        if each.headers.get("content-type", "").startswith("text/html") and each.body:
            policy = each.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy


async def test_a_nonce_is_good_for_one_answer(console: Console) -> None:
    """Each page has another one, the same in its policy and its scripts."""
    await console.signed_in()
    nonces = set()
    for _ in range(3):
        page = await console.get("/console")
        (nonce,) = set(re.findall(r'nonce="([^"]+)"', page.body.decode()))
        assert f"'nonce-{nonce}'" in page.headers["content-security-policy"]
        nonces.add(nonce)
    assert len(nonces) == 3


async def test_a_refusal_has_the_form_of_its_request(console: Console) -> None:
    """A page with a way back, a part for htmx, a document for programs; what was asked for is text in it."""
    await console.signed_in("eve", Role.READ)
    page = await console.get("/console/nowhere")
    assert page.status == 404
    assert b'href="/console">Back to Live' in page.body
    part = await console.post("/console/calls/CA1/hang-up", {}, hx_request="true")
    assert part.status == 403
    assert b"<html" not in part.body
    assert b"your role is read" in part.body
    document = await console.get("/console/api/nowhere")
    assert (document.status, document.json()["error"]["code"]) == (404, "not_found")
    console.cookie = ""
    part = await console.get("/console/messages?q=%3Cscript%3E", hx_request="true")
    assert part.status == 401
    assert b"Sign in again" in part.body
    assert "script" not in Elements(part.body.decode()).names


async def test_what_is_asked_for_is_shown_as_text(console: Console) -> None:
    """A query that is quoted back has no element in it."""
    await console.signed_in()
    page = await console.get("/console/messages?q=" + HOSTILE.replace(" ", "%20").replace('"', "%22"))
    assert page.status == 200
    names = Elements(page.body.decode()).names
    assert "img" not in names
    assert "b" not in names


@pytest.mark.parametrize(
    "path", ["/console/calls/" + "A" * 10_000, "/console/calls/..%2f..%2fetc", "/console/calls/%00", "/console/%ff"]
)
async def test_a_path_that_is_none_leads_back(console: Console, path: str) -> None:
    """Whatever stands in the path, the page says that it is not there."""
    await console.signed_in()
    answer = await console.get(path)
    assert answer.status == 404
    assert b"Back to Live" in answer.body


async def test_waiting_messages_are_counted_in_the_header(console: Console, database: Database) -> None:
    """The pages that there are, are in the header, with the number of messages that wait."""
    await console.signed_in()
    page = (await console.get("/console")).body.decode()
    assert re.findall(r'<a href="(/console[a-z/-]*)"', page) == ["/console", "/console/messages"]
    assert 'aria-current="page">Live' in page
    assert re.search(r'id="waiting-count" hidden>0<', page)
