"""What is around the MCP paths: a slash at their end, web pages that may use them, and clients that look for OAuth."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path

import httpx2
import pytest
import trio
from mcp.client.auth import OAuthClientProvider, OAuthRegistrationError
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from relay.simulator.carrier.signing import sign
from relay.simulator.load.local_daemon import ACCOUNT, LocalDaemon
from tests.e2e.conftest import ALLOWED_ORIGIN
from tests.e2e.parties import Access
from tests.limits import HANGING
from tests.mcp_clients import TYPESCRIPT_1, marks_of, prepare

CLIENTS = Path(__file__).parents[1] / "clients"
OWN_PAGES = [ALLOWED_ORIGIN, "http://localhost:6274", "http://127.0.0.1:3000", "http://[::1]:8080"]
FOREIGN_PAGES = [
    "https://evil.example",
    f"{ALLOWED_ORIGIN}.evil.example",
    f"{ALLOWED_ORIGIN}:8443",
    ALLOWED_ORIGIN.replace("https", "http"),
    "null",
    "file://",
    "http://localhost.evil.example",
    "",
]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "page", "version": "1"}},
}


def headers_of(access: Access) -> dict[str, str]:
    """Return what a client sends with each request to /mcp."""
    return {"Authorization": f"Bearer {access.token}", "Accept": "application/json, text/event-stream"}


# ── a slash at the end ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_mcp_with_a_slash(agent: Access, http: httpx2.AsyncClient) -> None:
    """`/mcp/` opens a session as `/mcp` does, without a redirect, and the session is the same at both."""
    opened = await http.post("/mcp/", json=INITIALIZE, headers=headers_of(agent))
    assert opened.status_code == 200
    session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], **headers_of(agent)}
    assert (await http.delete("/mcp", headers=session)).status_code == 204


async def test_sse_with_a_slash(agent: Access, http: httpx2.AsyncClient) -> None:
    """`/sse/` streams as `/sse` does, and its messages are taken at `/messages/`."""
    async with http.stream("GET", f"/sse/?token={agent.token}") as stream:
        assert stream.status_code == 200
        lines = stream.aiter_lines()
        endpoint = ""
        while not endpoint.startswith("data: "):
            endpoint = await anext(lines)
        address = endpoint.removeprefix("data: ").replace("/messages?", "/messages/?")
        assert "/messages/?" in address
        assert (await http.post(address, json=INITIALIZE)).status_code == 202


@pytest.mark.parametrize("name", ["voice", "call-status", "answered-by", "voice-ended"])
async def test_webhook_with_a_slash(daemon: LocalDaemon, agent: Access, http: httpx2.AsyncClient, name: str) -> None:
    """A webhook that was configured with a slash at its end is served, signed with it; signed without it, it is not."""
    form = {"CallSid": f"CA{secrets.token_hex(16)}", "AccountSid": ACCOUNT, "From": "+14155550123"}

    async def post(name: str, status: str, signed: str | None = None) -> int:
        path, fields = f"/webhooks/{agent.agent_id}/{name}/", form | {"CallStatus": status}
        signature = sign(daemon.token, f"{daemon.url}{signed or path}", fields)
        return (await http.post(path, data=fields, headers={"X-Twilio-Signature": signature})).status_code

    assert await post(name, "ringing", signed=f"/webhooks/{agent.agent_id}/{name}") == 403
    assert await post(name, "ringing") in {200, 204}
    assert await post("call-status", "completed") == 204  # or the daemon would wait for the call when it is stopped


@pytest.mark.parametrize("path", ["/mcp//", "//mcp", "/mcp/x", "/sse//", "/messages//"])
async def test_more_than_a_slash_is_not_found(http: httpx2.AsyncClient, path: str) -> None:
    """Other paths near these are not found."""
    assert (await http.post(path)).status_code == 404


# ── web pages ───────────────────────────────────────────────────────────────────────────────────────────────────────


def ask_leave(origin: str, method: str = "POST", fields: str = "authorization,content-type") -> dict[str, str]:
    """Return what a browser sends before a page's request."""
    return {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": fields}


@pytest.mark.parametrize(
    "path", ["/mcp", "/mcp/", "/sse", "/messages", "/register", "/.well-known/openid-configuration"]
)
@pytest.mark.parametrize("origin", OWN_PAGES)
async def test_page_gets_leave_without_a_token(http: httpx2.AsyncClient, origin: str, path: str) -> None:
    """A browser that asks for an allowed page gets leave for what it asks."""
    fields = "authorization, content-type, mcp-protocol-version, mcp-session-id, mcp-param-x, last-event-id"
    answer = await http.options(path, headers=ask_leave(origin, "DELETE", fields))
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert answer.headers["access-control-allow-headers"] == fields
    assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages", "/register"])
@pytest.mark.parametrize("origin", FOREIGN_PAGES)
async def test_foreign_page_gets_nothing(http: httpx2.AsyncClient, origin: str, path: str) -> None:
    """A page of another origin gets no leave, and sees no answer."""
    for answer in (
        await http.options(path, headers=ask_leave(origin)),
        await http.post(path, json=INITIALIZE, headers={"Origin": origin}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["vary"] == "Origin"
        assert answer.status_code >= 400


async def test_page_may_see_every_answer(agent: Access, http: httpx2.AsyncClient) -> None:
    """Good answers and errors alike can be read by an allowed page, the session's id included."""
    good = headers_of(agent)
    answers = [
        await http.post("/mcp", json=INITIALIZE, headers=good | {"Origin": ALLOWED_ORIGIN}),
        await http.post("/mcp", json=INITIALIZE, headers={"Origin": ALLOWED_ORIGIN}),
        await http.post("/mcp", content=b"{", headers=good | {"Origin": ALLOWED_ORIGIN}),
        await http.post("/mcp", json={}, headers=good | {"Origin": ALLOWED_ORIGIN, "Mcp-Session-Id": "none"}),
        await http.put("/mcp", headers=good | {"Origin": ALLOWED_ORIGIN}),
        await http.get("/sse?token=wrong", headers={"Origin": ALLOWED_ORIGIN}),
        await http.post("/sse", headers={"Origin": ALLOWED_ORIGIN}),
        await http.post("/messages?session_id=none", headers={"Origin": ALLOWED_ORIGIN}),
        await http.get("/.well-known/oauth-protected-resource", headers={"Origin": ALLOWED_ORIGIN}),
    ]
    assert [each.status_code for each in answers] == [200, 401, 415, 404, 405, 401, 405, 404, 404]
    for each in answers:
        assert each.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
        assert each.headers["access-control-expose-headers"] == "Mcp-Session-Id"
        assert each.headers["vary"] == "Origin"


async def test_page_may_read_a_stream(agent: Access, http: httpx2.AsyncClient) -> None:
    """An allowed page's event stream can be read by it."""
    url = f"/sse?token={agent.token}"
    async with http.stream("GET", url, headers={"Origin": OWN_PAGES[1]}) as stream:
        assert stream.headers["access-control-allow-origin"] == OWN_PAGES[1]


async def test_pages_get_no_leave_elsewhere(agent: Access, http: httpx2.AsyncClient) -> None:
    """Webhooks and the operator's pages are nothing for web pages."""
    for path in (f"/webhooks/{agent.agent_id}/voice", "/metrics", "/health"):
        answer = await http.options(path, headers=ask_leave(ALLOWED_ORIGIN))
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_invalid_headers_of_a_preflight_are_not_repeated(http: httpx2.AsyncClient) -> None:
    """Header names that are none are not given back."""
    answer = await http.options("/mcp", headers=ask_leave(ALLOWED_ORIGIN, fields="authorization; <script>"))
    assert "access-control-allow-headers" not in answer.headers


# ── OAuth ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(
            ("GET", f"/.well-known/{name}{suffix}", 404)
            for name in ("oauth-protected-resource", "oauth-authorization-server", "openid-configuration")
            for suffix in ("", "/", "/mcp", "/sse", "/mcp/")
        ),
        ("GET", "/mcp/.well-known/openid-configuration", 404),
        ("HEAD", "/.well-known/oauth-protected-resource", 404),
        ("POST", "/register", 400),
        ("POST", "/register/", 400),
        ("GET", "/authorize", 400),
        ("POST", "/token", 400),
    ],
)
async def test_look_for_oauth_is_answered_in_json(
    http: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    """Whatever is asked of OAuth, the answer is an error of OAuth's form that says what to check."""
    answer = await http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    if method != "HEAD":
        assert set(answer.json()) == {"error", "error_description"}
        assert "relay agents rotate" in answer.json()["error_description"]


@pytest.mark.parametrize(
    "path", ["/.well-known/mcp.json", "/registered", "/.well-known/openid-configurations", "/tokens"]
)
async def test_other_paths_stay_not_found(http: httpx2.AsyncClient, path: str) -> None:
    """Paths beside these are not found in the relay's own words."""
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


class NoMemory:
    """A store of tokens that holds nothing."""

    async def get_tokens(self) -> OAuthToken | None:
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        raise AssertionError(tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError(client_info)


async def test_python_client_shows_what_to_check(daemon: LocalDaemon) -> None:
    """The user of a Python client that turns to OAuth reads which token is wanted."""
    metadata = OAuthClientMetadata.model_validate({"redirect_uris": ["http://127.0.0.1:1/callback"]})
    auth = OAuthClientProvider(f"{daemon.url}/mcp", metadata, NoMemory())
    async with httpx2.AsyncClient(auth=auth) as client:
        with pytest.raises(OAuthRegistrationError, match="Authorization: Bearer TOKEN"):
            await client.post(f"{daemon.url}/mcp", json=INITIALIZE)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(module, marks=marks_of(TYPESCRIPT_1))
        for module in ("@modelcontextprotocol/sdk/client/auth.js", "@modelcontextprotocol/client")
    ],
)
async def test_typescript_client_shows_what_to_check(daemon: LocalDaemon, module: str) -> None:
    """So does the user of a TypeScript client, of either generation, and of the bridges that are built on them."""
    prepare(TYPESCRIPT_1)
    command = ["node", str(CLIENTS / "oauth.mjs"), module, f"{daemon.url}/mcp"]
    with trio.fail_after(HANGING):
        done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.DEVNULL)
    assert "Authorization: Bearer TOKEN" in json.loads(done.stdout)["shown"]
