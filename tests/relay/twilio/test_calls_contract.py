"""Every request that the client makes is one that Twilio's published description of the API accepts.

The facts of the description are kept in tests/contracts/twilio_calls_api.json, with their source, so that the test
needs no network. They are held against what the simulated API received, not against what the client meant to send.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from relay.simulator.carrier.rest_service import ApiRequest
from relay.twilio.call_orders import STATUS_EVENTS
from tests.relay.simulator.ordering import OURS, THEIRS, ordering
from tests.relay.simulator.scripted_relay import ACCOUNT, TOKEN

CONTRACT: dict[str, Any] = json.loads((Path(__file__).parents[2] / "contracts" / "twilio_calls_api.json").read_text())


def faults(request: ApiRequest) -> list[str]:
    """Say what the description does not accept in a request."""
    operation = next((each for each in CONTRACT["operations"] if _is_of(request, each)), None)
    if operation is None:
        return [f"{request.method} {request.path} is not described"]
    names = Counter(name for name, _value in request.fields)
    found = [f"{name} is missing" for name in operation.get("required", ()) if name not in names]
    alternatives = operation.get("oneOf", ())
    if alternatives and not names.keys() & set(alternatives):
        found.append(f"one of {', '.join(alternatives)} is missing")
    for name, value in request.fields:
        fact = operation["fields"].get(name)
        if fact is None:
            found.append(f"{name} is not described")
        elif names[name] > 1 and fact["type"] != "array":
            found.append(f"{name} is repeated")
        elif not _fits(value, fact):
            found.append(f"{name} cannot be {value!r}")
    return found


def _is_of(request: ApiRequest, operation: dict[str, Any]) -> bool:
    pattern = re.escape(operation["path"])
    for name, form in CONTRACT["paths"].items():
        pattern = pattern.replace(re.escape(f"{{{name}}}"), form.strip("^$"))
    return request.method == operation["method"] and re.fullmatch(pattern, request.path) is not None


def _fits(value: str, fact: dict[str, Any]) -> bool:
    kind = fact["type"] if fact["type"] in {"integer", "boolean"} else fact.get("format", "text")
    is_of_kind = {
        "integer": value.isdecimal() and fact.get("minimum", 0) <= int(value) <= fact.get("maximum", int(value)),
        "boolean": value in {"true", "false"},
        "uri": urlsplit(value).scheme in {"http", "https"} and "_" not in (urlsplit(value).hostname or "_"),
        "date-time": re.fullmatch(r"\d{4}-\d\d-\d\d(T[\d:]+Z)?", value) is not None,
        "text": len(value) <= fact.get("maxLength", len(value)),
    }
    is_allowed = value in fact.get("enum", [value]) and re.search(fact.get("pattern", ""), value) is not None
    return is_of_kind[kind] and is_allowed


async def test_every_request_is_described() -> None:
    """Create with and without detection, redirect, hang-up, fetch and list are all as the description has them."""
    async with ordering() as bench:
        plain = bench.order("<Response><Pause length='1'/></Response>", ring_seconds=120, time_limit=86_400)
        await bench.client.create(plain)
        watched = bench.order(detect_machine=bench.relay.origin + "/verdict")
        placed = await bench.client.create(watched)
        await (await bench.rest.call(placed.sid)).connected()
        await bench.client.redirect(placed.sid, watched.twiml)
        await bench.client.hang_up(placed.sid)
        await bench.client.fetch(placed.sid)
        await bench.client.find_recent(THEIRS, OURS, datetime.now(UTC))
    assert len(bench.rest.requests) == 6
    assert [fault for request in bench.rest.requests for fault in faults(request)] == []


@pytest.mark.parametrize(
    ("method", "path", "fields", "fault"),
    [
        ("POST", "/Calls.json", [("To", THEIRS), ("Twiml", "<Response/>")], "From is missing"),
        ("POST", "/Calls.json", [("To", THEIRS), ("From", OURS)], "one of Url, Twiml, ApplicationSid is missing"),
        ("POST", f"/Calls/CA{'0' * 32}.json", [("Twimll", "x")], "Twimll is not described"),
        ("POST", f"/Calls/CA{'0' * 32}.json", [("Status", "ended")], "Status cannot be 'ended'"),
        ("POST", f"/Calls/CA{'0' * 32}.json", [("TimeLimit", "1.5")], "TimeLimit cannot be '1.5'"),
        ("POST", f"/Calls/CA{'0' * 32}.json", [("Url", "/voice")], "Url cannot be '/voice'"),
        (
            "POST",
            f"/Calls/CA{'0' * 32}.json",
            [("Url", "https://a_b.example/")],
            "Url cannot be 'https://a_b.example/'",
        ),
        ("POST", f"/Calls/CA{'0' * 32}.json", [("Twiml", "a"), ("Twiml", "b")], "Twiml is repeated"),
        ("GET", "/Calls.json", [("PageSize", "0")], "PageSize cannot be '0'"),
        ("GET", "/Calls.json", [("ParentCallSid", "CA1")], "ParentCallSid cannot be 'CA1'"),
    ],
)
def test_the_check_finds_what_is_wrong(method: str, path: str, fields: list[tuple[str, str]], fault: str) -> None:
    """A check that found nothing anywhere would pass for ever."""
    request = ApiRequest(method=method, path=f"/2010-04-01/Accounts/{ACCOUNT}{path}", fields=tuple(fields))
    assert fault in faults(request)


def test_a_path_that_is_not_described() -> None:
    """A request to another path, or with a method that a path does not have, is found too."""
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/CA{'0' * 32}.json"
    assert faults(ApiRequest(method="PUT", path=path, fields=())) == [f"PUT {path} is not described"]


def test_the_events_are_those_of_the_description() -> None:
    """We ask for every event that there is."""
    create = CONTRACT["operations"][0]["fields"]
    assert set(create["StatusCallbackEvent"]["enum"]) == set(STATUS_EVENTS)


async def test_the_simulated_answer_is_described_too() -> None:
    """A call as the simulated API shows it has only fields and statuses that the description has."""
    async with ordering() as bench, httpx2.AsyncClient(auth=(ACCOUNT, TOKEN)) as http:
        placed = await bench.client.create(bench.order("<Response/>"))
        path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{placed.sid}.json"
        answer = (await http.get(bench.rest.url + path)).json()
    assert answer.keys() <= set(CONTRACT["call"]["fields"])
    assert answer["status"] in CONTRACT["call"]["status"]
