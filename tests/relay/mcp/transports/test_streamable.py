"""Who may come in at `/mcp`, and how a request that may not is answered."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import trio

from actors.errors import ClientAbsent, ClientLeft
from relay.mcp.transports.event_stream import Timing
from relay.mcp.transports.http_body import LONGEST_MESSAGE, MOST_IN_A_BATCH
from tests.limits import HANGING
from tests.relay.mcp.http_client import http_client, initialize, standing_client
from tests.relay.mcp.mcp_relay import (
    RunningRelay,
    eventually,
    raw_client,
    running_relay,
)

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


# ── who may come in ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers",
    [{"authorization": None}, {"authorization": "Bearer wrong"}, {"authorization": "Basic token-anna"}],
    ids=["none", "wrong", "basic"],
)
@pytest.mark.parametrize("version", [None, "2025-11-25", "2026-07-28"])
async def test_nobody_comes_in_without_a_token(
    relay: RunningRelay, headers: dict[str, str | None], version: str | None
) -> None:
    """Whatever the revision, a request without a known token is told how to carry one, and begins nothing."""
    async with http_client(relay) as client:
        refused = await client.post(initialize(), mcp_protocol_version=version, **headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["jsonrpc"] == "2.0"
    assert refused.json()["error"]["data"] == {"code": "unauthorized"}
    assert len(relay.app) == 0


async def test_token_in_the_address_does_not_count(relay: RunningRelay) -> None:
    """Addresses end up in logs, so here only the header names the agent."""
    async with httpx2.AsyncClient() as http:
        refused = await http.post(f"{relay.origin}/mcp?token=token-anna", json=initialize())
    assert refused.status_code == 401


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_session_of_another_agent_does_not_exist(relay: RunningRelay, method: str) -> None:
    """Who learns a session's id cannot use, hear or end it with another agent's token, nor see that it is there."""
    async with http_client(relay) as hers, http_client(relay, "bert") as his:
        await hers.shake_hands()
        his.headers["mcp-session-id"] = hers.headers["mcp-session-id"]
        refused = await (his.post(PING) if method == "POST" else his.send(method))
        assert refused.status_code == 404
        error = refused.json()["error"]
        assert (error["data"] if method == "POST" else error)["code"] == "unknown_session"
        assert "result" in await hers.request("ping")


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_unknown_session_is_not_found(relay: RunningRelay, method: str) -> None:
    """A session that is over, or never was, gets the 404 that tells a client to begin anew."""
    async with http_client(relay) as client:
        client.headers["mcp-session-id"] = "x" * 32
        refused = await (client.post(PING) if method == "POST" else client.send(method))
    assert refused.status_code == 404


async def test_sessions_of_the_two_transports_do_not_mix(relay: RunningRelay) -> None:
    """The id of a session over one transport opens nothing over the other."""
    async with raw_client(relay) as sse, http_client(relay) as client:
        await client.shake_hands()
        own = client.headers["mcp-session-id"]
        client.headers["mcp-session-id"] = sse.events[0]["data"].partition("session_id=")[2]
        assert (await client.post(PING)).status_code == 404
        sse.events[0]["data"] = f"/messages?session_id={own}"
        assert (await sse.post(PING)).status_code == 404


async def test_session_ids_are_never_alike(relay: RunningRelay) -> None:
    """A session's id is long, random, and its own."""
    async with http_client(relay) as one, http_client(relay) as two:
        await one.shake_hands()
        await two.shake_hands()
        ids = {one.headers["mcp-session-id"], two.headers["mcp-session-id"]}
    assert len(ids) == 2
    assert all(len(each) >= 32 for each in ids)


async def test_token_that_cannot_be_checked_is_asked_to_come_back(relay: RunningRelay) -> None:
    """While the directory fails nobody new comes in, and a session goes on with the token that began it."""
    async with http_client(relay) as client:
        await client.shake_hands()
        with relay.file.broken("agents"):
            assert "result" in await client.request("ping")
            turned_away = await client.post(initialize(), mcp_session_id=None)
    assert turned_away.status_code == 503
    assert turned_away.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:8080"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_page_of_another_origin_is_refused(relay: RunningRelay, headers: dict[str, str], status: int) -> None:
    """A page whose name was rebound to this machine, and any other page, is refused even with a token."""
    async with http_client(relay) as client:
        refused = await client.post(initialize(), **headers)
    assert refused.status_code == status
    assert len(relay.app) == 0


async def test_relay_is_reached_by_its_public_name() -> None:
    """Behind a proxy the host is that of the public URL, and its own pages may come in."""
    async with running_relay(public_url="https://relay.example") as relay, http_client(relay) as client:
        served = await client.post(initialize(), host="relay.example", origin="https://relay.example")
    assert served.status_code == 200


# ── what may be asked ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
async def test_handshake_begins_a_session(relay: RunningRelay, version: str) -> None:
    """Each revision with this transport is spoken, and the session answers for its agent."""
    async with http_client(relay) as client:
        hello = await client.shake_hands(version=version)
        assert hello["result"]["protocolVersion"] == version
        assert hello["result"]["serverInfo"]["name"] == "relay"
        tools = await client.request("tools/list")
        client.headers.pop("mcp-protocol-version")  # older clients do not send it
        assert await client.request("tools/list") == tools
    assert "comms_list_calls" in {each["name"] for each in tools["result"]["tools"]}
    (session,) = relay.sessions.of_agent("anna")
    assert session.ready.is_set()


async def test_initialize_that_is_refused_leaves_no_session(relay: RunningRelay) -> None:
    """A handshake without its parameters is an error, and nothing is kept for it."""
    async with http_client(relay) as client:
        refused = await client.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}})
        assert refused.json()["error"]["code"] == -32602
    await eventually(lambda: len(relay.app) == 0)


async def test_only_initialize_needs_no_session(relay: RunningRelay) -> None:
    """Any other message without a session is refused, and so are a GET and a DELETE."""
    async with http_client(relay) as client:
        refused = await client.post(PING)
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == -32600
        assert (await client.send("GET")).status_code == 400
        assert (await client.send("DELETE")).status_code == 400


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_refused(relay: RunningRelay, method: str) -> None:
    """What is neither POST, GET nor DELETE is told what is."""
    async with http_client(relay) as client:
        refused = await client.send(method)
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, POST, DELETE"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "text/plain"}, 415),
        ({"content_type": None}, 415),
        ({"accept": "application/json"}, 406),
        ({"accept": "text/html"}, 406),
        ({"accept": "*/*"}, 200),
        ({"accept": "application/*, text/event-stream;q=0.5"}, 200),
        ({"content_type": "application/json; charset=utf-8"}, 200),
        ({"mcp_protocol_version": "1999-01-01"}, 400),
    ],
)
async def test_headers_of_a_post_are_checked(relay: RunningRelay, headers: dict[str, str | None], status: int) -> None:
    """A POST must be JSON, take both forms of answer, and name a revision that is known."""
    async with http_client(relay) as client:
        await client.shake_hands()
        assert (await client.post(PING, **headers)).status_code == status
        assert "result" in await client.request("ping")


async def test_unknown_revision_gets_the_known_ones(relay: RunningRelay) -> None:
    """The refusal of a version that nobody speaks is a JSON-RPC error."""
    async with http_client(relay) as client:
        refused = await client.post(PING, mcp_protocol_version="1999-01-01", mcp_method="ping")
    assert refused.json()["jsonrpc"] == "2.0"
    assert refused.json()["error"]["code"] < 0


async def test_stream_must_be_accepted(relay: RunningRelay) -> None:
    """A GET that does not take events gets none."""
    async with http_client(relay) as client:
        await client.shake_hands()
        assert (await client.send("GET", accept="application/json")).status_code == 406


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 5_000, -32700),
        (b"[" * 100_000, -32600),
        (b"[]", -32600),
        (b"null", -32600),
        (b'"x"', -32600),
        (b'{"jsonrpc": "1.0", "method": "ping"}', -32600),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else "",
)
async def test_malformed_message_is_refused_and_does_no_harm(relay: RunningRelay, body: bytes, code: int) -> None:
    """What is no JSON-RPC message gets 400 with a JSON-RPC error, and the session goes on."""
    async with http_client(relay) as client:
        await client.shake_hands()
        refused = await client.post(body)
        assert refused.status_code == 400
        assert refused.json()["id"] is None
        assert refused.json()["error"]["code"] == code
        assert "result" in await client.request("ping")


@pytest.mark.parametrize("odd", [None, 1.0, 1.5, True, False, {}, [], {"a": 1}, [1], 10**30, -0.25])
async def test_odd_id_is_refused_whatever_the_revision(relay: RunningRelay, odd: object) -> None:
    """A request whose id is none is neither swallowed nor answered without one, with a session or without."""
    request = {"jsonrpc": "2.0", "id": odd, "method": "tools/list"}
    async with http_client(relay) as client:
        refused = [await client.post(request)]
        refused.append(await client.post(request, mcp_protocol_version="2026-07-28", mcp_method="tools/list"))
        await client.shake_hands()
        refused.append(await client.post(request))
        assert "result" in await client.request("ping")
    for each in refused:
        assert each.status_code == 400
        assert each.json()["error"]["code"] == -32600
        assert "id must be" in each.json()["error"]["message"]


async def test_refusal_of_what_was_posted_is_an_answer_to_it(relay: RunningRelay) -> None:
    """SDKs show their users a JSON-RPC error and nothing else, so each says what to do, under the request's id."""
    async with http_client(relay) as client:
        without_session = await client.post(PING)
        too_rich = await client.post(b"[" + b"1," * 500_000 + b"1]")
        with relay.file.broken("agents"):
            later = await client.post(initialize())
        await client.shake_hands()
        batch = await client.post([PING])
        client.headers["mcp-session-id"] = "gone"
        gone = await client.post(PING)
        large = await client.post(b" " * (LONGEST_MESSAGE + 1), mcp_session_id=None)
        wrong_type = await client.post(PING, mcp_session_id=None, content_type="text/plain")
    for refused, status, request_id, words in (
        (without_session, 400, PING["id"], "initialize"),
        (too_rich, 400, None, "values"),
        (later, 503, None, "try again"),
        (batch, 400, None, "no batches"),
        (gone, 404, None, "initialize a new one"),
        (large, 413, None, "bytes"),
        (wrong_type, 415, None, "application/json"),
    ):
        assert refused.status_code == status
        assert refused.headers["content-type"] == "application/json"
        answer = refused.json()
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", request_id)
        assert words in answer["error"]["message"]
        assert isinstance(answer["error"]["code"], int)


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "x", "progress": "y"}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": []}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "never asked"}},
        {"jsonrpc": "2.0", "id": "never asked", "result": {}},
        {"jsonrpc": "2.0", "id": "never asked", "error": {"code": 1, "message": "no"}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "no"}},
    ],
)
async def test_senseless_message_does_no_harm(relay: RunningRelay, message: dict[str, Any]) -> None:
    """A message of the right form that makes no sense is taken, and the session goes on."""
    async with http_client(relay) as client:
        await client.shake_hands()
        assert (await client.post(message)).status_code == 202
        assert "result" in await client.request("ping")


async def test_message_too_large_is_refused(relay: RunningRelay) -> None:
    """A body beyond the limit gets 413, with a session or without."""
    async with http_client(relay) as client:
        assert (await client.post(b" " * (LONGEST_MESSAGE + 1))).status_code == 413
        await client.shake_hands()
        assert (await client.post(b" " * (LONGEST_MESSAGE + 1))).status_code == 413


async def test_body_that_does_not_come_is_not_waited_for() -> None:
    """A peer that announces a body and sends none, or goes away, keeps nothing busy."""
    async with running_relay(timing=Timing(body_patience=0.05)) as relay:
        host, port = relay.origin.removeprefix("http://").split(":")
        head = (
            f"POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer token-anna\r\naccept: */*\r\n"
            "content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        )
        async with await trio.open_tcp_stream(host, int(port)) as gone:
            await gone.send_all(head.encode())
        async with await trio.open_tcp_stream(host, int(port)) as slow:
            await slow.send_all(head.encode())
            with trio.fail_after(HANGING):
                assert b" 408 " in await slow.receive_some()


# ── batches ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_batch_is_answered_as_one() -> None:
    """The one revision with batches gets its answers together, and what is no request is taken along."""
    async with running_relay() as relay, http_client(relay) as client:
        await client.shake_hands(version="2025-03-26")
        note = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
        answered = await client.post([PING, note, {**PING, "id": "two"}])
        assert (await client.post([note, note])).status_code == 202
    assert sorted(str(each["id"]) for each in answered.json()) == ["1", "two"]


@pytest.mark.parametrize(
    "batch",
    [
        [],
        [PING, initialize()],
        [PING, PING],
        [{**PING, "id": number} for number in range(MOST_IN_A_BATCH + 1)],
        [PING, 5],
        [[PING]],
    ],
    ids=["empty", "initialize", "same id", "too many", "no message", "nested"],
)
async def test_senseless_batch_is_refused(relay: RunningRelay, batch: list[Any]) -> None:
    """A batch that cannot be answered is refused as a whole."""
    async with http_client(relay) as client:
        await client.shake_hands(version="2025-03-26")
        assert (await client.post(batch)).status_code == 400
        assert "result" in await client.request("ping")


# ── its end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_client_ends_its_session(relay: RunningRelay) -> None:
    """DELETE ends the stream and what is in hand, and from then on the session is not found."""
    async with standing_client(relay) as (client, stream):
        with pytest.RaisesGroup(ClientLeft):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay.ask, "Hello?")
                await stream.next_message("sampling/createMessage")
                assert (await client.send("DELETE")).status_code == 204
        await stream.ended.wait()
        assert (await client.post(PING)).status_code == 404
        assert (await client.send("DELETE")).status_code == 404
    await relay.departure()


async def test_closing_an_agent_ends_its_sessions_only(relay: RunningRelay) -> None:
    """When an agent's token is changed its clients are gone at once, and nobody else's."""
    async with standing_client(relay, "anna") as (hers, stream), standing_client(relay, "bert") as (his, _):
        relay.app.close_agent("anna")
        with pytest.raises(ClientAbsent):
            await relay.ask("Hello?", "anna")
        await stream.ended.wait()
        assert (await hers.post(PING)).status_code == 404
        assert "result" in await his.request("ping")


async def test_shutdown_ends_every_session_and_begins_no_more(relay: RunningRelay) -> None:
    """At the end of the daemon turns in hand fail, streams end, and who comes is asked to come back."""
    async with standing_client(relay) as (client, stream):
        await relay.arrival()
        with pytest.RaisesGroup(ClientLeft):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(relay.ask, "Hello?")
                await stream.next_message("sampling/createMessage")
                relay.app.close_all()
        await stream.ended.wait()
        assert (await client.post(initialize(), mcp_session_id=None)).status_code == 503
        assert (await client.post(PING, mcp_protocol_version="2026-07-28")).status_code == 503
    await eventually(lambda: len(relay.app) == 0)


async def test_without_its_tasks_nobody_is_let_in() -> None:
    """Before `run` there is nothing that a session could live in."""
    async with running_relay(runs=False) as relay, http_client(relay) as client:
        assert (await client.post(initialize())).status_code == 503


@pytest.mark.parametrize(
    ("timing", "sampling", "ready"),
    [
        (Timing(handshake_timeout=0.05), True, False),
        (Timing(stream_patience=0.05), True, True),
        (Timing(idle_timeout=0.05), False, True),
    ],
    ids=["no handshake", "lost stream", "idle"],
)
async def test_session_that_nobody_uses_is_removed(timing: Timing, sampling: bool, ready: bool) -> None:
    """What a dead client leaves behind is gone after a while, and a live one that comes later begins anew."""
    async with running_relay(timing=timing) as relay, http_client(relay) as client:
        if ready:
            await client.shake_hands(sampling=sampling)
            async with client.listening():
                with trio.move_on_after(0.2) as kept:
                    await relay.departure()
                assert kept.cancelled_caught  # while its stream is open it is used
        else:
            await client.post(initialize())
        await relay.departure()
        if ready:
            assert (await client.post(PING)).status_code == 404
