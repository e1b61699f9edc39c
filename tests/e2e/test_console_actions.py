"""What an operator's forms do in a call, and what they are told otherwise: on a whole relay, without a browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import httpx2
import pytest
import structlog
import trio

from actors.errors import StoreFailed
from relay.simulator.carrier.simulated_call import SimulatedCall
from relay.store.operator_actions import OperatorActions
from relay.store.operators import Operators, Role
from tests.e2e.console_operator import OF_OURS, ConsoleOperator, recorded, signed_in
from tests.e2e.parties import (
    AiClient,
    ask,
    calling,
    connected,
    database_of,
    eventually,
    own_url,
    register,
    repeat,
    stay_silent,
)
from tests.e2e.relay_here import RelayHere, run_relay_here

FORMS: dict[str, dict[str, str]] = {
    "say": {"text": "Hello."},
    "take": {"when": "now"},
    "typing": {},
    "hand-back": {},
    "transfer": {"to": "+14155552671"},
    "hang-up": {"text": "Goodbye."},
}


@attrs.frozen
class Scene:
    """A call to an agent whose client answers, and an operator who may act."""

    here: RelayHere
    client: AiClient
    call: SimulatedCall
    ada: ConsoleOperator

    async def act(self, action: str, **form: str) -> httpx2.Response:
        return await self.ada.act(self.call.call_sid, action, **form)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with run_relay_here(tmp_path) as here:
        access = await register(here)
        async with connected(access, repeat) as client, signed_in(here) as ada, calling(here, access) as call:
            assert await ask(call, "Hello?") == "You said: Hello?"
            yield Scene(here, client, call, ada)


def text_of(answer: httpx2.Response) -> str:
    """Return what an answer shows."""
    return " ".join(re.sub(r"<[^>]*>", " ", answer.text).split())


async def is_gone(here: RelayHere, call_sid: str) -> bool:
    """Whether a call is over and forgotten."""
    await trio.lowlevel.checkpoint()
    return here.relay.calls.find_known(call_sid) is None


# ── done ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_an_operator_does_is_heard_and_on_record(scene: Scene) -> None:
    """Said, taken, handed back, hung up: each heard by the caller, each one line with the operator's name."""
    call = scene.call
    with structlog.testing.capture_logs() as logs:
        assert (await scene.act("say", text="One *moment*, please.")).status_code == 204
        assert (await call.hear()).text == "One moment, please."
        assert (await scene.act("take", when="pause")).status_code == 204
        await call.say("Are you a person?")
        assert (await scene.act("typing")).status_code == 204
        assert (await scene.act("say", text="Yes, I am Ada.")).status_code == 204
        assert (await call.hear()).text == "Yes, I am Ada."
        assert (await scene.act("hand-back")).status_code == 204
        assert await ask(call, "Thank you.") == "You said: Thank you."
        assert (await scene.act("hang-up", text="Goodbye.")).status_code == 204
        assert (await call.hear()).text == "Goodbye."
        await call.wait_ended()
    done = ["say", "take_over", "say", "hand_back", "hang_up"]
    assert await scene.ada.recorded(call.call_sid) == [(scene.ada.name, each, "done") for each in done]
    logged = [each for each in logs if each["event"] == "operator_action"]
    assert [(each["operator"], each["action"], each["call_sid"]) for each in logged] == [
        (scene.ada.name, each, call.call_sid) for each in done
    ]
    assert "moment" not in str(logged)


async def test_a_call_that_is_taken_now_withdraws_the_clients_request(tmp_path: Path) -> None:
    """The client gets `notifications/cancelled`; and the caller hears the operator."""
    async with run_relay_here(tmp_path) as here:
        access = await register(here)
        async with connected(access, stay_silent) as client, signed_in(here) as ada, calling(here, access) as call:
            await call.say("Are you a person?")
            await client.asked.receive()
            await ada.act(call.call_sid, "take", when="now")
            assert (await client.withdrawn.receive()).words == "Are you a person?"
            await ada.act(call.call_sid, "say", text="Yes.")
            assert (await call.hear()).text == "Yes."


async def test_a_double_click_is_said_once(scene: Scene) -> None:
    """Two posts of one form at once: one effect, one line on record, the same answer; another form is another line."""
    answers: list[int] = []

    async def click() -> None:
        answers.append((await scene.act("say", key="k1", text="Once.")).status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(click)
        nursery.start_soon(click)
    await click()
    assert answers == [204] * 3
    assert (await scene.act("say", key="k2", text="Twice.")).status_code == 204
    assert [(await scene.call.hear()).text for _ in range(2)] == ["Once.", "Twice."]
    assert len(await scene.ada.recorded(scene.call.call_sid)) == 2


async def test_a_transfer_is_checked_first(scene: Scene) -> None:
    """The gate's dry run is shown before, and the number that it has allowed is the one that is dialled."""
    shown = await scene.act("transfer", to="+14155552671", announcement="One moment.")
    assert shown.status_code == 200
    assert scene.call.dialled == []
    assert await scene.ada.recorded(scene.call.call_sid) == []
    changed = await scene.act("transfer", to="+14155552672", checked="+14155552671")
    assert changed.status_code == 409
    assert "Check it again" in text_of(changed)


# ── not done ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_cannot_be_said_is_wrong_in_its_field(scene: Scene) -> None:
    """422, with a sentence at the field; the caller hears nothing of it."""
    for text in ("", "   ", "…!?", "x" * 2_001, "a\0b", "a\ufffdb", "\U0001f600"):
        answer = await scene.act("say", text=text)
        assert answer.status_code == 422, text[:9]
        assert 'data-field="text"' in answer.text
    assert await ask(scene.call, "Still there?") == "You said: Still there?"


async def test_halves_of_characters_are_wrong_in_their_field(scene: Scene) -> None:
    """What no browser sends, but a program may."""
    body = b"key=k&text=a%ED%A0%80b"
    kind = {"content-type": "application/x-www-form-urlencoded", "hx-request": "true"}
    path = f"/console/calls/{scene.call.call_sid}/say"
    answer = await scene.ada.http.post(path, content=body, headers=OF_OURS | kind)
    assert (answer.status_code, 'data-field="text"' in answer.text) == (422, True)
    answer = await scene.ada.http.post(path, content=b"text=\xff\xfe", headers=OF_OURS | kind)
    assert answer.status_code == 422


async def test_the_gate_refuses_a_transfer_in_its_own_words(tmp_path: Path) -> None:
    """No number, an emergency number, our own: its rule and sentence; nothing is dialled, the call goes on."""
    rules = {
        "": "Enter the number",
        "Ben": "number_invalid",
        "112": "emergency_number",
        "+15550001111": "own_number",
        "+1 555 000 1111 x" + "9" * 500: "E.164",
    }
    async with run_relay_here(tmp_path) as here:
        access = await register(here, number="+15550001111")
        async with connected(access, repeat), signed_in(here) as ada, calling(here, access) as call:
            assert await ask(call, "Hello?") == "You said: Hello?"
            for number, rule in rules.items():
                shown = await ada.act(call.call_sid, "transfer", to=number)
                assert rule in text_of(shown)
                # Also without looking first.
                forced = await ada.act(call.call_sid, "transfer", to=number, checked=number or "x")
                assert forced.status_code == 422
                assert 'data-field="to"' in forced.text
            assert call.dialled == []
            assert await ask(call, "Still there?") == "You said: Still there?"


async def test_a_call_that_is_over_says_since_when_and_why(scene: Scene) -> None:
    """Each action after the caller has hung up: 409 in the dialog, nothing else."""
    call_sid = scene.call.call_sid
    await scene.call.hang_up()
    for action in FORMS.keys() - {"typing"}:
        answer = await scene.act(action, **FORMS[action])
        assert answer.status_code == 409, (action, answer.text)
        assert re.search(r"This call ended (\d+ s ago|just now): the caller hung up\.", text_of(answer)), answer.text
    assert (await scene.act("typing")).status_code == 204
    await eventually(lambda: is_gone(scene.here, call_sid))
    scene.here.relay.calls.ended._calls.clear()
    answer = await scene.act("say", text="Hello?")
    assert answer.status_code == 409
    assert re.search(r"This call ended at \d\d:\d\d:\d\d UTC: the caller hung up\.", text_of(answer))


async def test_a_call_of_nobody(scene: Scene) -> None:
    """404, and nothing on record."""
    for call_sid in ("CA00000000000000000000000000000000", "x" * 3_000, "..%2F..%2Fetc", "%00"):
        for action in FORMS.keys() - {"typing"}:
            answer = await scene.ada.act(call_sid, action, **FORMS[action])
            assert answer.status_code == 404, (call_sid[:40], action)
            assert await scene.ada.recorded(call_sid) == []


async def test_last_words_are_not_interrupted(scene: Scene) -> None:
    """While the goodbye is said, nothing else is done."""
    await scene.call.freeze_line()
    assert (await scene.act("hang-up", text="Goodbye.")).status_code == 204
    codes = {
        (await scene.act("say", text="Wait!")).text.partition('data-code="')[2].partition('"')[0] for _ in range(1)
    }
    assert codes <= {"call_ending", "call_over", "no_line"}


async def test_two_operators_and_one_call(scene: Scene) -> None:
    """The other one is told who has it, and since when, and may take it; then the first one is."""
    async with signed_in(scene.here) as ben:
        call_sid = scene.call.call_sid
        assert (await ben.act(call_sid, "take", when="pause")).status_code == 204
        for action in FORMS.keys() - {"typing"}:
            answer = await scene.act(action, **FORMS[action])
            assert answer.status_code == 409, action
            assert re.search(rf"{ben.name} has had this call since \d\d:\d\d UTC\.", text_of(answer)), answer.text
            assert f"Take it from {ben.name}" in text_of(answer)
        assert (await scene.act("take", **{"from": ben.name, "when": "now"})).status_code == 204
        assert (await scene.act("say", text="Ada here.")).status_code == 204
        assert (await scene.call.hear()).text == "Ada here."
        answer = await ben.act(call_sid, "hand-back")
        assert answer.status_code == 409
        assert f"Take it from {scene.ada.name}" in text_of(answer)


async def test_who_does_not_have_a_call_cannot_hand_it_back(scene: Scene) -> None:
    """It says what to do."""
    answer = await scene.act("hand-back")
    assert (answer.status_code, "Take it over first" in text_of(answer)) == (409, True)


async def test_what_cannot_be_recorded_is_not_done(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database does not take the record: 503, and nobody hears anything; the call goes on."""

    async def fail(*_arguments: object) -> int:
        await trio.lowlevel.checkpoint()
        raise StoreFailed("database is locked")

    monkeypatch.setattr(OperatorActions, "begin", fail)
    for action in FORMS.keys() - {"typing", "transfer"}:
        answer = await scene.act(action, key="the same", **FORMS[action])
        assert answer.status_code == 503, action
        assert "Nothing was done" in text_of(answer)
    assert (await scene.act("transfer", to="+14155552671", checked="+14155552671")).status_code == 503
    assert scene.here.relay.seats.find(scene.call.call_sid) is None
    assert await ask(scene.call, "Still there?") == "You said: Still there?"
    monkeypatch.undo()
    assert (await scene.act("say", key="the same", text="Hello.")).status_code == 204
    assert (await scene.call.hear()).text == "Hello."


# ── who may ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_may_act(scene: Scene) -> None:
    """Role read, another site, no session, a client's token, an ended session: refused, and nothing on record."""
    call_sid = scene.call.call_sid
    async with signed_in(scene.here, Role.READ) as reader, signed_in(scene.here) as gone:
        async with database_of(scene.here) as database:
            await Operators(database).rotate(gone.name)
        async with httpx2.AsyncClient(base_url=own_url(scene.here)) as nobody:
            for action, form in FORMS.items():
                path = f"/console/calls/{call_sid}/{action}"
                assert (await reader.act(call_sid, action, **form)).status_code == 403
                assert (await gone.act(call_sid, action, **form)).status_code == 401
                foreign = {"sec-fetch-site": "cross-site"}
                assert (await scene.ada.http.post(path, data=form, headers=foreign)).status_code == 403
                assert (await scene.ada.http.post(path, data=form)).status_code == 403
                assert (await nobody.post(path, data=form, headers=OF_OURS)).status_code == 401
                token = {"authorization": f"Bearer {scene.here.token}"}
                assert (await nobody.post(path, data=form, headers=token)).status_code in {401, 429}
                assert (await scene.ada.http.get(path)).status_code == 404
    assert await recorded(scene.here, call_sid) == []
    assert scene.here.relay.seats.find(call_sid) is None


async def test_programs_act_too(scene: Scene) -> None:
    """With an operator's token, errors as JSON."""
    path = f"/console/api/calls/{scene.call.call_sid}"
    headers = {"authorization": f"Bearer {scene.ada.access.token}"}
    async with httpx2.AsyncClient(base_url=own_url(scene.here), headers=headers) as http:
        assert (await http.post(f"{path}/say", data={"text": "Hello."})).status_code == 204
        assert (await scene.call.hear()).text == "Hello."
        refused = await http.post(f"{path}/hand-back")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_taken")
        refused = await http.post(f"{path}/say", data={"text": " "})
        assert (refused.status_code, refused.json()["error"]["details"]) == (422, {"field": "text"})
        verdict = (await http.post(f"{path}/transfer", data={"to": "112"})).json()
        assert (verdict["allowed"], verdict["refusals"][0]["name"]) == (False, "emergency_number")
        async with signed_in(scene.here, Role.READ) as eve, signed_in(scene.here) as ben:
            me = await eve.http.get("/console/api/me")
            assert me.json() == {"operator": eve.name, "role": "read"}
            await ben.act(scene.call.call_sid, "take", when="pause")
            refused = await http.post(f"{path}/take")
            assert (refused.status_code, refused.json()["error"]["details"]) == (409, {"operator": ben.name})
