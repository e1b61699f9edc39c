"""The door of the console: who is let in, with what, for how long, from which pages; and what the others are told."""

from __future__ import annotations

import pytest
import structlog

from relay.console.failures import IN_ALL, PER_ADDRESS
from relay.store.database import Database
from relay.store.operators import Role
from tests.fakes_store import WallClock
from tests.relay.console.conftest import Console, make_console
from tests.relay.http.asgi_driver import Answer

PAGES = [
    "/console",
    "/console/",
    "/console/messages",
    "/console/calls/CA1",
    "/console/api/calls/CA1",
    "/console/nowhere",
]
HANG_UP = "/console/calls/CA1/hang-up"
NAVIGATED = {"sec_fetch_mode": "navigate", "accept": "text/html"}


def is_sign_in(answer: Answer) -> bool:
    return answer.status == 401 and b"<h1>Sign in</h1>" in answer.body


# ── in and out ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_token_signs_in_and_out(console: Console) -> None:
    """The token opens a session whose cookie no script and no other site gets; signing out ends it everywhere."""
    token = await console.add()
    assert b'name="token"' in (await console.get("/console/sign-in")).body
    answer = await console.post("/console/sign-in", {"token": f" {token} ", "next": "/console/messages?q=1"})
    assert (answer.status, answer.headers["location"]) == (303, "/console/messages?q=1")
    cookie, *rules = answer.headers["set-cookie"].split("; ")
    assert cookie.startswith("relay-console-8080=")
    assert set(rules) == {"Path=/console", "Max-Age=604800", "HttpOnly", "SameSite=Strict"}
    assert token not in str(answer)
    console.keep(answer)
    page = await console.get("/console")
    assert page.status == 200
    assert b"ada" in page.body
    assert b"act" in page.body
    assert (await console.get("/console/sign-in")).status == 303
    left = await console.post("/console/sign-out", {})
    assert (left.status, left.headers["location"]) == (303, "/console/sign-in")
    assert "Max-Age=0" in left.headers["set-cookie"]
    assert is_sign_in(await console.get("/console"))


async def test_a_link_asks_first_and_signs_in_once(console: Console) -> None:
    """Looking at a link uses nothing up, because mail scanners look; the button does, once."""
    await console.add()
    link = await console.sessions.make_link("ada")
    for _ in range(2):
        page = await console.get(f"/console/sign-in?link={link}")
        assert page.status == 200
        assert b"Sign in as <bdi>ada</bdi>" in page.body
        assert "set-cookie" not in page.headers
    answer = await console.post("/console/sign-in", {"link": link})
    assert answer.status == 303
    console.keep(answer)
    assert (await console.get("/console")).status == 200
    for used in (
        await console.get(f"/console/sign-in?link={link}"),
        await console.post("/console/sign-in", {"link": link}),
    ):
        assert used.status == 401
        assert b"relay console" in used.body


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "https://evil.example",
        "/consolex",
        "/console\\evil",
        "/console/../x\n",
        "/",
        "/console?" + "x" * 999,
    ],
)
async def test_signing_in_leads_to_our_pages_only(console: Console, path: str) -> None:
    """A page that is none of the console's is not gone to."""
    answer = await console.post("/console/sign-in", {"token": await console.add(), "next": path})
    assert (answer.status, answer.headers["location"]) == (303, "/console")


@pytest.mark.parametrize("form", [{}, {"token": ""}, {"token": "  "}, {"next": "/console"}, {"name": "ada"}])
async def test_a_form_without_a_token_says_what_is_missing(console: Console, form: dict[str, str]) -> None:
    """Nothing entered is no failure to be counted."""
    await console.add()
    for _ in range(PER_ADDRESS + 1):
        answer = await console.post("/console/sign-in", form)
        assert answer.status == 400
        assert b"Enter your token" in answer.body


async def test_a_session_ends_by_itself(console: Console, clock: WallClock) -> None:
    """After twelve hours without a request the page is to sign in on, and leads back."""
    await console.signed_in()
    clock.turn(seconds=12 * 3600)
    answer = await console.get("/console/messages?q=%2B1")
    assert is_sign_in(answer)
    assert b'name="next" value="/console/messages?q=%2B1"' in answer.body


async def test_a_session_is_revoked_at_once(console: Console) -> None:
    """A new token, or a removed operator, ends the sessions of before with the next request."""
    await console.signed_in("ada")
    await console.operators.rotate("ada")
    assert is_sign_in(await console.get("/console"))
    await console.signed_in("ben")
    await console.operators.remove("ben")
    assert is_sign_in(await console.get("/console"))


# ── without a session ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", PAGES)
async def test_nothing_is_shown_without_a_session(console: Console, path: str) -> None:
    """Every path is 401, whether it exists or not: a page to sign in on, or a document for programs."""
    await console.add()
    for cookie in ("", "relay-console-8080=x", "relay-console-8080=", "relay-console-8080=" + "x" * 5000, "\xff\xfe"):
        console.cookie = cookie
        answer = await console.get(path)
        assert answer.status == 401
        if path.startswith("/console/api/"):
            assert answer.json()["error"]["code"] == "not_signed_in"
        else:
            assert is_sign_in(answer)
        assert (await console.post(path, {})).status == 401


async def test_static_files_need_no_session(console: Console) -> None:
    """The sign-in page has its style; a file's name changes with its content, so it is kept for ever."""
    await console.add()
    page = (await console.get("/console/sign-in")).body.decode()
    path = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = await console.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in answer.headers["cache-control"]
    for wrong in ("/console/static/console.css", "/console/static/..%2fpages.py", "/console/static/vendor.toml"):
        assert (await console.get(wrong)).status in {401, 404}


async def test_without_operators_there_is_no_console(console: Console, database: Database, clock: WallClock) -> None:
    """A path of the console then looks as any that does not exist; `--local` says how to get one."""
    elsewhere = await console.get("/nowhere")
    for path in [*PAGES, "/console/sign-in", "/console/sign-in?link=x", "/console/static/x.css"]:
        answer = await console.get(path)
        assert (answer.status, answer.body) == (404, elsewhere.body), path
    for form in ({}, {"token": "x"}, {"link": "x"}):
        assert (await console.post("/console/sign-in", form)).status == 404
    assert (await console.get("/console", authorization="Bearer op_x")).status == 404
    local = await make_console(database, clock, is_local=True).get("/console")
    assert local.status == 404
    assert b"relay operators add NAME" in local.body


async def test_a_navigation_from_elsewhere_loads_again(console: Console) -> None:
    """A link in a chat leaves the cookie at home: the page loads itself again, and then the cookie comes."""
    await console.signed_in()
    kept, console.cookie = console.cookie, ""
    for site in ("cross-site", "same-site"):
        answer = await console.get("/console/messages?q=a%22b", **NAVIGATED, sec_fetch_site=site)
        assert answer.status == 200
        assert b'content="0; url=/console/messages?q=a%22b"' in answer.body
    assert is_sign_in(await console.get("/console/messages", **NAVIGATED, sec_fetch_site="same-origin"))
    assert is_sign_in(await console.get("/console/messages", **NAVIGATED, sec_fetch_site="none"))
    console.cookie = kept
    assert (await console.get("/console/messages", **NAVIGATED, sec_fetch_site="cross-site")).status == 200


# ── roles, programs, other pages ────────────────────────────────────────────────────────────────────────────────────


async def test_who_may_only_look_cannot_act(console: Console) -> None:
    """The role read sees every page, gets 403 for what acts, and can sign out."""
    await console.signed_in("eve", Role.READ)
    assert (await console.get("/console/messages")).status == 200
    answer = await console.post(HANG_UP, {})
    assert answer.status == 403
    assert b"your role is read" in answer.body
    assert console.done == []
    assert (await console.post("/console/sign-out", {})).status == 303


async def test_a_program_shows_its_token(console: Console) -> None:
    """With a token no cookie is needed, nor a page of ours; the role is the operator's."""
    ada, eve = await console.add("ada"), await console.add("eve", Role.READ)
    bearer = {"authorization": f"Bearer {ada}", "sec_fetch_site": "", "origin": ""}
    assert (await console.get("/console", **bearer)).status == 200
    assert (await console.post(HANG_UP, {"say": "Bye"}, **bearer)).status == 204
    assert console.done == ["ada CA1 Bye"]
    assert (await console.post(HANG_UP, {}, authorization=f"Bearer {eve}")).status == 403


async def test_a_clients_token_is_told_apart(console: Console) -> None:
    """Who enters an agent's token learns which one is needed."""
    await console.add()
    _, token = await console.agents.add("my-client")
    for answer in (
        await console.get("/console", authorization=f"Bearer {token}"),
        await console.post("/console/sign-in", {"token": token}),
    ):
        assert answer.status == 401
        assert b"a client&#39;s token" in answer.body
    assert b"not known" in (await console.post("/console/sign-in", {"token": "op_" + token})).body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "same-origin"}, 204),
        ({"sec_fetch_site": "same-origin", "origin": "http://127.0.0.1:8080"}, 204),
        ({"sec_fetch_site": "", "origin": "http://127.0.0.1:8080"}, 204),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "none"}, 403),
        ({"sec_fetch_site": ""}, 403),
        ({"sec_fetch_site": "", "origin": "null"}, 403),
        ({"sec_fetch_site": "", "origin": "http://127.0.0.1:8081"}, 403),
        ({"sec_fetch_site": "", "origin": "http://localhost:8080"}, 403),
        ({"sec_fetch_site": "same-origin", "origin": "https://evil.example"}, 403),
        # It may use /mcp, with a token; it is no page of the console.
        ({"sec_fetch_site": "", "origin": "https://inspector.example"}, 403),
        ({"sec_fetch_site": "cross-site", "origin": "https://inspector.example"}, 403),
    ],
)
async def test_only_our_own_pages_act(console: Console, headers: dict[str, str], status: int) -> None:
    """A cookie alone does nothing: the browser must say that the request comes from a page of the console."""
    await console.signed_in()
    assert (await console.post(HANG_UP, {}, **headers)).status == status
    assert len(console.done) == (status == 204)
    assert (await console.post("/console/sign-in", {"token": "x"}, **headers)).status == (401 if status == 204 else 403)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example@127.0.0.1", "", "127.0.0.1:x"]
)
async def test_a_name_that_is_not_ours_is_refused(console: Console, host: str) -> None:
    """A name that was made to lead here gets nothing, signed in or not."""
    await console.signed_in()
    for path in ("/console", "/console/sign-in", "/console/static/x.css"):
        answer = await console.get(path, host=host)
        assert answer.status in {400, 421}
        assert b"<h1>Live" not in answer.body


async def test_two_daemons_keep_both_sessions(console: Console, database: Database, clock: WallClock) -> None:
    """Browsers keep cookies by host, whatever the port: so the port is in the name, and neither ends the other's."""
    await console.signed_in()
    other = make_console(database, clock, url="http://127.0.0.1:9090")
    other.cookie = console.cookie
    assert is_sign_in(await other.get("/console"))
    await other.signed_in("ben")
    both = f"{console.cookie}; {other.cookie}"
    assert other.cookie.startswith("relay-console-9090=")
    for each, name in ((console, b"ada"), (other, b"ben")):
        each.cookie = both
        page = await each.get("/console")
        assert page.status == 200
        assert b"<bdi>" + name + b"</bdi>" in page.body


async def test_over_https_the_cookie_is_bound_to_its_host(database: Database, clock: WallClock) -> None:
    """With a public address of HTTPS the cookie never goes over plain HTTP; on the machine itself there is another."""
    console = make_console(database, clock, public_url="https://relay.example")
    token = await console.add()
    answer = await console.post("/console/sign-in", {"token": token}, host="relay.example")
    cookie, *rules = answer.headers["set-cookie"].split("; ")
    assert cookie.startswith("__Host-relay-console=")
    assert {"Secure", "Path=/", "HttpOnly", "SameSite=Strict"} <= set(rules)
    console.cookie = cookie
    assert (await console.get("/console", host="relay.example")).status == 200
    ours = {"host": "relay.example", "sec_fetch_site": "", "origin": "https://relay.example"}
    assert (await console.post(HANG_UP, {}, **ours)).status == 204
    assert is_sign_in(await console.get("/console"))
    here = await console.post("/console/sign-in", {"token": token})
    assert "Secure" not in here.headers["set-cookie"]


# ── too many, too much ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(console: Console, clock: WallClock) -> None:
    """Five a minute from one address; then 429 with the time to wait, one line in the log, and still the right one."""
    right = await console.add()
    with structlog.testing.capture_logs() as logs:
        answers = [await console.post("/console/sign-in", {"token": f"op_{number}"}) for number in range(1000)]
    assert [each.status for each in answers] == [401] * PER_ADDRESS + [429] * (1000 - PER_ADDRESS)
    assert answers[-1].headers["retry-after"] == "60"
    assert b"Wait for a minute" in answers[-1].body
    assert [each["event"] for each in logs] == ["console_sign_in_failed"]
    assert (await console.post("/console/sign-in", {"token": right})).status == 303
    assert (await console.get("/console", authorization=f"Bearer {right}")).status == 200
    clock.turn(seconds=60)
    with structlog.testing.capture_logs() as logs:
        assert (await console.post("/console/sign-in", {"token": "op_x"})).status == 401
    assert [(each["event"], each["failures"]) for each in logs] == [("console_sign_in_failed", 1000)]


async def test_failures_are_limited_in_all(console: Console) -> None:
    """Thirty a minute from all addresses together, which is also all that is remembered of them."""
    failures = console.sign_in.failures
    noted = [failures.note(f"192.0.2.{number}") for number in range(100)]
    assert noted == [None] * IN_ALL + [60] * (100 - IN_ALL)


@pytest.mark.parametrize(
    "token", ["x" * 5000, "\0", "\ud800", "\xff\xfe", "op_" + "é" * 43, "<script>alert(1)</script>", "' OR 1=1 --"]
)
async def test_an_impossible_token_is_a_wrong_one(console: Console, token: str) -> None:
    """Whatever is entered is refused in a sentence, and not shown again."""
    await console.add()
    answer = await console.post("/console/sign-in", {"token": token})
    assert answer.status == 401
    assert b"<script>alert" not in answer.body


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"x" * 70_000, 413), (b"token=" + b"x" * 70_000, 413), (b"\xff\xfe\0=%%%", 400), (b"&&&=", 400)],
)
async def test_a_body_that_is_no_form_is_refused(console: Console, body: bytes, status: int) -> None:
    """What is too large or no form is answered in words."""
    await console.add()
    answer = await console.post("/console/sign-in", body)
    assert answer.status == status
    assert b"<html" in answer.body
