"""Migrations of databases that are in use: what an older relay kept is there once a newer one has opened it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

import relay.store
from actors.call_record import CallKind, CallState
from actors.call_values import CallSummary, Speaker
from relay.store.agent_registry import AgentRegistry
from relay.store.call_journal import CallJournal
from relay.store.database import open_database
from relay.store.recovery import Recovery
from relay.store.waiting_messages import WaitingMessages

ON_SQLITE = "op.get_bind().dialect.name == 'sqlite'"
MIGRATIONS = sorted((Path(relay.store.__file__).with_name("migrations") / "versions").glob("*.py"))

# As a relay of revision 0002_gate wrote it: a call that ended, one that is up, one that never had a line, and the like.
FILLED = """
INSERT INTO agents (agent_id, number, greeting, token_hash, created_at)
    VALUES ('my-client', '+14155552671', 'Hi!', 'hash', '2026-11-01 08:00:00.000000');
INSERT INTO calls (call_sid, agent_id, direction, caller, called, boot, opened_at, connected_at, ended_at, outcome,
                   duration_seconds, turns_by) VALUES
    ('CA1', 'my-client', 'inbound', '+1', '+2', 'boot', '2026-11-01 09:00:00.000000', '2026-11-01 09:00:01.000000',
     '2026-11-01 09:01:00.500000', 'completed', 59.5, '{"client": 2}'),
    ('CA2', 'my-client', 'inbound', '+1', '+2', 'boot', '2026-11-01 09:02:00.000000', '2026-11-01 09:02:01.000000',
     NULL, NULL, NULL, '{}'),
    ('CA3', 'my-client', 'inbound', '+1', '+2', 'boot', '2026-11-01 09:03:00.000000', NULL,
     '2026-11-01 09:04:00.000000', 'not_connected', 0.0, '{}');
INSERT INTO held_words (call_sid, turn, text, at) VALUES ('CA2', 1, 'hello?', '2026-11-01 09:02:05.000000');
INSERT INTO messages (id, agent_id, call_sid, part, channel, direction, reason, caller, called, body, preferences,
                      transcript, created_at, deliveries, sealed) VALUES
    ('msg_1', 'my-client', 'CA1', 1, 'voice', 'inbound', 'client_absent', '+1', '+2', 'Call me.', '',
     '[{"speaker": "caller", "text": "Call me.", "at": "2026-11-01T09:00:30.000Z"}]', '2026-11-01 09:00:31.000000',
     0, FALSE);
INSERT INTO client_hellos (agent_id, key_hash, params, updated_at)
    VALUES ('my-client', 'key', '{}', '2026-11-01 08:00:00.000000');
INSERT INTO do_not_call (number, agent_id, reason, added_at, added_by)
    VALUES ('+3', '*', '', '2026-11-01 08:00:00.000000', 'operator');
"""


@pytest.fixture
def filled(new_database: Callable[[], str]) -> str:
    """Return the URL of a database of revision 0002_gate with something in every part of it."""
    url = new_database()
    config = Config()
    config.set_main_option("script_location", str(Path(relay.store.__file__).with_name("migrations")))
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002_gate")
        for statement in FILLED.split(";\n"):
            if statement:
                connection.exec_driver_sql(statement)
    engine.dispose()
    return url


def operations(migration: Path) -> list[tuple[str, ast.Call]]:
    """Return the operations of a migration, each with its name, but for those on SQLite alone."""
    tree = ast.parse(migration.read_text())
    apart = [each for each in ast.walk(tree) if isinstance(each, ast.If) and ast.unparse(each.test) == ON_SQLITE]
    left_out = {id(node) for branch in apart for node in ast.walk(branch)}
    return [
        (node.func.attr, node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "op"
        and id(node) not in left_out
    ]


@pytest.mark.sqlite_only("it only reads")
@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda path: path.stem)
def test_migrations_only_add(migration: Path) -> None:
    """A relay of the version before works on beside a newer one: what it knows is there, and it may leave out the rest.

    So nothing is dropped, renamed or made stricter, and a new column of an old table is empty or has a default. A file
    of SQLite has one relay, and an older one refuses it: there a table may be made anew.
    """
    found = operations(migration)
    assert {name for name, _call in found} <= {"create_table", "create_index", "add_column", "execute", "get_bind"}
    made = {ast.literal_eval(call.args[0]) for name, call in found if name == "create_table"}
    for name, call in found:
        given = ast.unparse(call)
        if name == "add_column":
            assert "nullable=False" not in given or "server_default=" in given, given
            assert "unique=True" not in given, given
        elif name == "create_index":
            assert "unique=True" not in given or ast.literal_eval(call.args[1]) in made, given
        elif name == "execute":
            assert str(ast.literal_eval(call.args[0])).startswith(("UPDATE ", "INSERT INTO ")), given


async def test_call_records_keep_what_they_had(filled: str) -> None:
    """Calls, messages and agents of before are as they were, with the new fields empty."""
    async with open_database(filled) as database:
        journal = CallJournal(database)
        ended, live, unheard = [await journal.get(sid) for sid in ("CA1", "CA2", "CA3")]
        (agent,) = await AgentRegistry(database).list()
        (message,) = await WaitingMessages(database).list_all()
    assert ended is not None
    assert (ended.outcome, ended.duration_seconds, ended.answered_by) == ("completed", 59.5, {"client": 2})
    assert (ended.kind, ended.transfer_outcome, ended.carrier_status) == (CallKind.CALL, None, None)
    assert live is not None
    assert live.state is CallState.LIVE
    assert unheard is not None
    assert (unheard.outcome, unheard.duration_seconds) == ("not_connected", 0)
    assert (agent.greeting, agent.name, agent.discloses) == ("Hi!", None, True)
    assert (agent.fillers, agent.long_filler) == (None, None)
    assert [(each.speaker, each.text) for each in message.transcript] == [(Speaker.CALLER, "Call me.")]


async def test_calls_of_before_are_over_or_go_on(filled: str) -> None:
    """A call that had ended is not closed again, and one that was up is found by the next start, words and all."""
    async with open_database(filled) as database:
        journal = CallJournal(database)
        await journal.close_call("CA1", CallSummary(outcome="failed", turns_by={"client": 9}))
        ended = await journal.get("CA1")
        assert ended is not None
        assert (ended.outcome, ended.answered_by) == ("completed", {"client": 2})
        await journal.begin_run()
        assert await journal.recover() == Recovery(messages=1, calls=1)
        assert [each.body for each in await WaitingMessages(database).list_all()] == ["Call me.", "hello?"]
