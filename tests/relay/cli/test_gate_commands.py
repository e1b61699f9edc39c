"""`relay dnc`, `relay consents` and `relay gate`, through click's runner, each on a database of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
from click.testing import CliRunner, Result

from relay.cli.main import main
from relay.store.agent_registry import AgentRegistry
from relay.store.database import open_database

Run: TypeAlias = Callable[..., Result]

BERLIN = "+493012345678"
NOON, NIGHT = "2026-11-22T12:00+01:00", "2026-11-22T02:00Z"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a directory, and on a database with one agent, of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("TWILIO_PHONE_NUMBER", "+493020000000")

    async def add_agent() -> None:
        async with open_database("sqlite:///relay.db") as database:
            await AgentRegistry(database).add("my-client")

    trio.run(add_agent)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(main, list(arguments))


def printed(result: Result) -> Any:
    """Read what a command printed as JSON, having ended well and said nothing else."""
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refused(run: Run, *options: str, number: str = BERLIN) -> list[str]:
    verdict = printed(run("gate", "explain", number, "--at", NOON, "--json", *options))
    return [each["name"] for each in verdict["refusals"]]


def test_the_list_is_kept_from_the_command_line(run: Run) -> None:
    """A number is put on the list, seen there, and taken off again, however it is written."""
    added = run("dnc", "add", "+49 (0)30 12345678", "--reason", "letter of 3 May", "--json")
    assert printed(added) == {"number": BERLIN, "agentId": None, "added": True}
    (entry,) = printed(run("dnc", "list", "--json"))["numbers"]
    assert (entry["number"], entry["agentId"], entry["reason"], entry["addedBy"]) == (
        BERLIN,
        None,
        "letter of 3 May",
        "operator",
    )
    assert refused(run) == ["do_not_call"]
    assert printed(run("dnc", "remove", "+49 30 12345678", "--json"))["removed"]
    assert printed(run("dnc", "list", "--json")) == {"numbers": []}
    assert refused(run) == []


def test_an_agents_own_entry(run: Run) -> None:
    """An entry for one agent is none for all, and is not removed as such."""
    assert "agent my-client" in run("dnc", "add", BERLIN, "--agent", "my-client").stdout
    assert refused(run) == []
    assert refused(run, "--agent", "my-client") == ["do_not_call"]
    missing = run("dnc", "remove", BERLIN)
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "not on the list of all agents" in missing.stderr
    assert "no longer on the list of agent my-client" in run("dnc", "remove", BERLIN, "--agent", "my-client").stdout


def test_the_list_is_a_table_for_people(run: Run) -> None:
    """Without `--json` the list is a table, or a sentence where there is nothing."""
    assert run("dnc", "list").stdout == "No numbers. Every number may be called.\n"
    assert "is on the list of all agents" in run("dnc", "add", BERLIN).stdout
    assert "was already on the list of all agents" in run("dnc", "add", BERLIN).stdout
    assert BERLIN in run("dnc", "list", "--agent", "my-client").stdout


def test_consents_are_kept_from_the_command_line(run: Run) -> None:
    """A consent is recorded, seen, and withdrawn; it stays on record."""
    about = (BERLIN, "--agent", "my-client")
    given = run("consents", "add", *about, "--purpose", "reminders", "--source", "form", "--json")
    assert printed(given) == {"number": BERLIN, "agentId": "my-client", "purpose": "reminders"}
    (consent,) = printed(run("consents", "list", "--json"))["consents"]
    assert (consent["source"], consent["recordedBy"], consent["withdrawnAt"]) == ("form", "operator", None)
    assert printed(run("consents", "withdraw", *about, "--json"))["withdrawn"] == 1
    again = run("consents", "withdraw", *about)
    assert again.exit_code == 1
    assert "relay consents list --agent my-client" in again.stderr
    (consent,) = printed(run("consents", "list", "--agent", "my-client", "--json"))["consents"]
    assert consent["withdrawnAt"] is not None


def test_consents_are_reported_to_people(run: Run) -> None:
    """Without `--json` a sentence says what was done, and the register is a table."""
    assert run("consents", "list").stdout == "No consents.\n"
    assert "may be called" in run("consents", "add", BERLIN, "--agent", "my-client", "--source", "form").stdout
    assert BERLIN in run("consents", "list").stdout
    assert "is withdrawn" in run("consents", "withdraw", BERLIN, "--agent", "my-client").stdout


def test_the_gate_explains_itself_to_programs(run: Run) -> None:
    """Each rule is there, with what it says and what would lift it."""
    verdict = printed(run("gate", "explain", BERLIN, "--at", NIGHT, "--json"))
    assert (verdict["allowed"], verdict["to"], verdict["nextAllowed"]) == (False, BERLIN, "2026-11-22T07:00:00Z")
    by_name = {each["rule"]: each for each in verdict["rules"]}
    assert by_name["premium_number"]["result"] == "pass"
    assert by_name["agent_minute_limit"]["result"] == "unchecked"
    assert by_name["quiet_hours"] == {
        "rule": "quiet_hours",
        "result": "refuse",
        "sentence": "It is 03:00 in Europe/Berlin; people are called from 08:00 to 21:00.",
        "liftedBy": "Waiting until 2026-11-22T07:00:00Z.",
    }


def test_the_gate_explains_itself_to_people(run: Run) -> None:
    """A table has a row for each rule, below the verdict."""
    result = run("gate", "explain", "112", "--agent", "my-client", "--at", NOON)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["allowed", "False"] in lines
    assert [line[:2] for line in lines if line[1:2] in (["refuse"], ["pass"], ["unchecked"])][:3] == [
        ["emergency_number", "refuse"],
        ["number_invalid", "refuse"],
        ["number_unassigned", "unchecked"],
    ]


def test_the_place_of_the_callee_may_be_given(run: Run) -> None:
    """A zone of the callee counts instead of that of the number."""
    assert refused(run, "--zone", "America/New_York", "--kind", "transfer") == ["quiet_hours"]
    assert refused(run, "--zone", "Nowhere") == ["zone_unknown"]


def test_the_settings_rules_are_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the gate explains is what it will do: it goes by the settings of whoever asks."""
    monkeypatch.setenv("RELAY_ALLOWED_COUNTRIES", "US")
    assert refused(run) == ["country_not_allowed"]
    monkeypatch.setenv("RELAY_ALLOWED_COUNTRIES", "US, DE")
    assert refused(run) == []
    monkeypatch.setenv("RELAY_ALLOWED_COUNTRIES", "Germany")
    wrong = run("gate", "explain", BERLIN)
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "RELAY_ALLOWED_COUNTRIES" in wrong.stderr


@pytest.mark.parametrize(
    ("number", "rule"),
    [
        # Satellites and the networks of ships.
        ("+870773123456", "satellite_number"),
        ("+881612345678", "satellite_number"),
        ("+88216123456", "satellite_number"),
        ("+61147101234", "satellite_number"),
        ("+62868123456", "satellite_number"),
        # Personal numbers.
        ("+447012345678", "personal_number"),
        ("+44 (0)70 1234 5678", "personal_number"),
        ("+15005550006", "personal_number"),
        ("+1 533 234 5678", "personal_number"),
        ("+4970012345678", "personal_number"),
        ("+41878123456", "personal_number"),
        ("+878101234567890", "personal_number"),
        # What pays whoever is called, and what only looks as if it did not.
        ("+448431234567", "premium_number"),
        ("+448712345678", "premium_number"),
        ("+19005551234", "premium_number"),
        ("+4990012345678", "premium_number"),
        ("+4918012345678", "premium_number"),
        ("+358700123456789", "premium_number"),
        ("+439001234567890", "premium_number"),
        ("+14159761234", "premium_number"),
        ("+31840123456", "premium_number"),
        ("+351707123456", "premium_number"),
        ("+81570123456", "premium_number"),
        ("+979123456789", "premium_number"),
        # Directory enquiries.
        ("+12125551212", "premium_number"),
        ("+1 800 555-1212", "premium_number"),
        ("+4911833", "premium_number"),
        # The number that calls come from.
        ("+493020000000", "own_number"),
        # Abroad, as seen from Germany; and no country at all.
        ("+12025550123", "country_not_allowed"),
        ("+43662123456", "country_not_allowed"),
        ("+80012345678", "country_not_allowed"),
    ],
)
def test_what_is_dear_is_refused_unless_it_is_allowed(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: str, rule: str
) -> None:
    """Unless the operator allows more, only ordinary numbers of the own country are called."""
    monkeypatch.setenv("RELAY_CALLING_HOURS", "00:00-24:00")
    monkeypatch.setenv("RELAY_ALLOW_UNASSIGNED_NUMBERS", "true")
    assert rule in refused(run, number=number)
    monkeypatch.setenv("RELAY_ALLOWED_COUNTRIES", "all")
    assert refused(run, number=number) == ([] if rule == "country_not_allowed" else [rule])


@pytest.mark.parametrize(
    "number", ["+18095551234", "+18764123456", "+14734031234", "+12425021234", "+14415001234", "+14165550123"]
)
def test_the_neighbours_of_the_united_states_are_another_country(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    """Behind +1 are twenty countries, some of them ten times as dear; one is called where it is named."""
    monkeypatch.setenv("TWILIO_PHONE_NUMBER", "+12025550100")
    monkeypatch.setenv("RELAY_CALLING_HOURS", "00:00-24:00")
    monkeypatch.setenv("RELAY_ALLOW_UNASSIGNED_NUMBERS", "true")
    verdict = printed(run("gate", "explain", number, "--json"))
    (refusal,) = verdict["refusals"]
    assert refusal["name"] == "country_not_allowed"
    assert "would come from US" in refusal["sentence"]
    countries = re.search(r"RELAY_ALLOWED_COUNTRIES=(\S+)", refusal["liftedBy"])
    assert countries is not None
    monkeypatch.setenv("RELAY_ALLOWED_COUNTRIES", countries[1])
    assert refused(run, number=number) == []
    assert refused(run, number="+12025550123") == []


def test_satellites_are_called_where_they_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """All countries are no satellites; `001` is them."""
    monkeypatch.setenv("RELAY_CALLING_HOURS", "00:00-24:00")
    monkeypatch.setenv("RELAY_ALLOWED_COUNTRIES", "all")
    (refusal,) = printed(run("gate", "explain", "+870773123456", "--json"))["refusals"]
    assert "001 in RELAY_ALLOWED_COUNTRIES" in refusal["liftedBy"]
    monkeypatch.setenv("RELAY_ALLOWED_COUNTRIES", "All, 001")
    assert refused(run, number="+870773123456") == []


def test_without_a_number_to_call_from_no_country_is_known(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that has no number calls nowhere; without an agent the rule is left open."""
    monkeypatch.delenv("TWILIO_PHONE_NUMBER")
    assert refused(run, "--agent", "my-client") == ["country_not_allowed"]
    by_name = {each["rule"]: each for each in printed(run("gate", "explain", BERLIN, "--json"))["rules"]}
    assert by_name["country_not_allowed"]["result"] == "unchecked"
    assert printed(run("agents", "set", "my-client", "--number", "+49 89 1234567", "--json"))
    assert refused(run, "--agent", "my-client") == []
    assert refused(run, number="+49891234567") == ["own_number"]


@pytest.mark.parametrize(
    ("zone", "hour", "result"),
    [
        # Among the zones of the number, by whatever name: it is chosen.
        ("America/New_York", "15:00Z", []),
        ("America/Detroit", "15:00Z", []),
        ("US/Eastern", "15:00Z", []),
        ("Pacific/Honolulu", "15:00Z", ["quiet_hours"]),
        ("Pacific/Honolulu", "20:00Z", []),
        # Not among them: it counts beside them, and never opens the night.
        ("Europe/Berlin", "15:00Z", ["quiet_hours"]),
        ("Asia/Tokyo", "03:00Z", ["quiet_hours"]),
        ("Etc/GMT-14", "03:00Z", ["quiet_hours"]),
        ("UTC", "12:00Z", ["quiet_hours"]),
        (None, "15:00Z", ["quiet_hours"]),
        ("Nowhere", "15:00Z", ["zone_unknown"]),
    ],
)
def test_a_zone_is_chosen_among_those_of_the_number(
    run: Run, monkeypatch: pytest.MonkeyPatch, zone: str | None, hour: str, result: list[str]
) -> None:
    """A toll-free number of North America may ring in forty-two zones; who knows which says so, and no other one."""
    monkeypatch.setenv("RELAY_ALLOWED_COUNTRIES", "US")
    given = [] if zone is None else ["--zone", zone]
    asked = run("gate", "explain", "+18005550199", "--at", f"2026-11-22T{hour}", "--json", *given)
    assert [each["name"] for each in printed(asked)["refusals"]] == result


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo", "Etc/GMT+9", "Pacific/Auckland"])
def test_no_zone_wakes_berlin(run: Run, zone: str) -> None:
    """Wherever a client says that the callee is, a Berlin number is not called at three in the morning."""
    verdict = printed(run("gate", "explain", BERLIN, "--at", NIGHT, "--zone", zone, "--json"))
    (refusal,) = verdict["refusals"]
    assert refusal["name"] == "quiet_hours"
    assert "03:00 in Europe/Berlin" in refusal["sentence"]
    assert "clocks of both count" in refusal["sentence"]


def test_an_agent_is_switched_off_and_on(run: Run) -> None:
    """The kill switch holds at once, and is put back by hand only."""
    assert printed(run("gate", "disable", "my-client", "--json")) == {"agentId": "my-client", "outboundEnabled": False}
    assert refused(run, "--agent", "my-client") == ["outbound_disabled"]
    assert printed(run("gate", "enable", "my-client", "--json")) == {"agentId": "my-client", "outboundEnabled": True}
    assert refused(run, "--agent", "my-client") == []
    assert "dials nothing" in run("gate", "disable", "my-client", "--reason", "complaints").stdout
    assert "may dial" in run("gate", "enable", "my-client").stdout


@pytest.mark.parametrize(
    "command",
    [
        ["dnc", "add", BERLIN, "--agent", "nobody"],
        ["dnc", "list", "--agent", "nobody"],
        ["consents", "add", BERLIN, "--agent", "nobody", "--source", "form"],
        ["consents", "list", "--agent", "nobody"],
        ["gate", "explain", BERLIN, "--agent", "nobody"],
        ["gate", "disable", "nobody"],
        ["gate", "enable", "nobody"],
    ],
    ids=" ".join,
)
def test_a_name_of_nobody_is_an_error(run: Run, command: list[str]) -> None:
    """A misspelt agent is told, instead of being done nothing to."""
    result = run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no agent 'nobody'" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["dnc", "add", "nonsense"],
        ["dnc", "remove", "nonsense"],
        ["consents", "add", "nonsense", "--agent", "my-client", "--source", "form"],
        ["consents", "withdraw", "nonsense", "--agent", "my-client"],
    ],
    ids=" ".join,
)
def test_what_is_no_number_is_an_error(run: Run, command: list[str]) -> None:
    """The lists take numbers in E.164 form, and say so."""
    result = run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "E.164" in result.stderr


@pytest.mark.parametrize("at", ["tomorrow", "2026-11-22T09:00", ""])
def test_a_time_needs_its_offset(run: Run, at: str) -> None:
    """A time that could mean anything is wrong usage."""
    result = run("gate", "explain", BERLIN, "--at", at)
    assert result.exit_code == 2
    assert "2026-11-22T09:00+01:00" in result.stderr
