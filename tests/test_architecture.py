"""The rules of the design that no linter knows, checked on the source: who imports whom, and what nobody may write.

    actors ◀── relay.* ◀── relay.daemon, relay.cli        the simulator stands beside it all

What nobody may write is a question to one node of the syntax, so that the last tests can show that it finds something.
"""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import attrs
import pydantic
import pytest

REPOSITORY = Path(__file__).parents[1]

# What decides in a call, and performs nothing: it may be read, tested and replayed without a loop, a clock or a disk.
_PURE = (
    "call_record",
    "call_values",
    "commands",
    "conversation",
    "deadlines",
    "ended_calls",
    "errors",
    "events",
    "fillers",
    "narration",
    "phases",
    "playback",
    "policy",
    "trace",
    "take_over",
    "transcript",
    "transfer",
    "turns",
    "unanswered",
)
PURE = frozenset(f"actors.{name}" for name in _PURE)
PURE_MAY_IMPORT = frozenset(
    {"__future__", "attrs", "collections", "datetime", "enum", "itertools", "math", "re", "types", "typing"}
)

# Rooms that meet only in `relay.daemon`; what they need of each other they say as a protocol in their own `ports`.
STRANGERS = frozenset({"relay.twilio", "relay.answering", "relay.store"})

# The simulated carrier must not check the product with the product's own code.
SIMULATOR_MAY_IMPORT = frozenset({"relay.settings", "relay.errors", "relay.http", "relay.simulator", "relay.speech"})

LONGEST = 300
LONG_FILES = {
    "scripts/bench.py": "one table of rows, each with the few lines that make its work",
    "scripts/doors.py": "one list of what can be thrown at a daemon, each in a few lines, and what measures it",
    "actors/call_session.py": "one actor: its reader, loop, turn, firewall and epilogue share its state",
    "actors/call_values.py": "one kind of thing: the values that a call is told of and made of",
    "actors/calls.py": "all that happens to a call outside its sessions, on one object a call",
    "actors/trace.py": "a step, a turn's times and what keeps both, each in a few lines",
    "actors/narration.py": "the words for every kind of event and command, which are read as one list",
    "actors/events.py": "one list: everything that can happen to a call, each in a few lines",
    "actors/conversation.py": "every transition of a call is in one file, so that the rules can be read as one text",
    "relay/dialling/gate.py": "one question for each rule, and the sentences that its answer is told in",
    "relay/twilio/webhooks.py": "one answer for each webhook, and how a call goes on after each end of a session",
    "relay/twilio/rest.py": "one API: every request, and the one way in which all are paced, bounded and translated",
    "relay/settings.py": "one entry for each setting: its default, its rule, what it means",
    "actors/turn_queue.py": "who gets which words and whose answer counts is one set of rules over one state",
    "relay/store/connections.py": "what is open, lost, broken or in doubt is one state, that each batch starts from",
    "relay/store/database.py": "one queue and all that empties it share their state",
    "relay/reception.py": "all that a webhook says of a call goes to the same two places, in the same way",
    "relay/console/views.py": "every value that the pages show of calls, and its JSON, is read as one list",
    "relay/store/call_journal.py": "one record of a call, and every write about it with the rule of who may write it",
    "relay/store/engine.py": "how a database of either kind is opened, with what to do when that fails",
    "relay/store/schema.py": "every table is in one file, as one reads it to know what is stored",
    "relay/cluster/directory.py": "whose a home is, which node is dead and when this one lets go are one state",
    "relay/cluster/router.py": "whom a request is for, and what follows from each way to fail, is one text",
    "relay/daemon/life_cycle.py": "the life of a daemon, in the order in which it happens, is read as one text",
    "relay/daemon/wiring.py": "every part is put together in one place, each in a few lines",
    "relay/http/connection.py": "whose turn it is on a connection, and until when, is one state for both directions",
    "relay/mcp/session.py": "what a client can do now is one state, which all that happens to its session changes",
    "relay/simulator/carrier/simulated_call.py": "the carrier's half of a call and the script's share its state",
    "relay/simulator/claude/stand_in.py": "a whole stand-in service: what is asked and answered, the rule, the service",
    "relay/simulator/carrier/twiml_reader.py": "mostly lists of the verbs and attributes that exist",
    "relay/speech/asides.py": "one filter over one stream: the marks of all models, and a span for each kind",
    "relay/speech/layout.py": "one filter over one stream: each marker is a rule of a few lines",
}


def _files(*folders: str) -> list[Path]:
    return sorted(
        path for folder in folders for path in (REPOSITORY / folder).rglob("*.py") if "node_modules" not in path.parts
    )


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


MODULES = sorted(map(_module_name, _files("actors", "relay")))


@cache
def _modules() -> dict[str, ast.Module]:
    return {_module_name(path): ast.parse(path.read_text()) for path in _files("actors", "relay")}


@cache
def _nodes(module: str) -> tuple[ast.AST, ...]:
    """Return all of a module, whose tree is walked once for all rules."""
    return tuple(ast.walk(_modules()[module]))


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Name every module that one imports, inside functions too; of a package, its module that is meant."""
    return tuple(_imported_by(_nodes(module)))


def _imported_by(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Import():
                yield from (each.name for each in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                inner = [f"{module}.{each.name}" for each in node.names]
                yield from (name if name in _modules() else module for name in inner)
            case ast.ImportFrom():
                yield "." * node.level
            case _:
                pass


def _part(module: str) -> str:
    """Name the part that a module belongs to: its package inside `relay`, or the module itself at the top."""
    return ".".join(module.split(".")[:2])


def _imported_parts(module: str) -> set[str]:
    return {_part(name) for name in _imports(module) if name.split(".")[0] in {"actors", "relay"}}


RELAY = sorted(name for name in MODULES if name.startswith("relay"))


# ── who imports whom ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("actors")))
def test_actors_know_nothing_of_the_outside(module: str) -> None:
    """What happens in a call imports the standard library, attrs and trio, and nothing of `relay`."""
    allowed = sys.stdlib_module_names | {"attrs", "trio", "actors"}
    assert {name for name in _imports(module) if name.split(".")[0] not in allowed} == set()


@pytest.mark.parametrize("module", sorted(PURE))
def test_the_pure_part_imports_only_what_is_pure(module: str) -> None:
    """What decides imports no trio, clock, log, socket or database, and of ours only what is pure itself."""
    imported = set(_imports(module))
    assert {name for name in imported - PURE if name.split(".")[0] not in PURE_MAY_IMPORT} == set()


def test_strangers_do_not_meet() -> None:
    """The carrier's edge, the answering machine and the store do not import each other."""
    met = {module: _imported_parts(module) & (STRANGERS - {_part(module)}) for module in RELAY}
    assert {module: parts for module, parts in met.items() if parts and _part(module) in STRANGERS} == {}


RING_BY_SIMULATION = ("relay.daemon", "relay.console.phone", "relay.cli.caller")
"""The product's users of the simulated carrier: `--local`, the phone in the browser, and `relay call`."""


def test_the_product_rings_with_the_carrier_half_of_the_simulator() -> None:
    """Of the product only those use the simulator, and only its carrier; load and stand-ins are for scripts."""
    product = [module for module in RELAY if _part(module) != "relay.simulator"]
    users = [module for module in product if "relay.simulator" in _imported_parts(module)]
    assert [each for each in users if not f"{each}.".startswith(tuple(f"{one}." for one in RING_BY_SIMULATION))] == []
    used = {name for module in users for name in _imports(module) if name.startswith("relay.simulator")}
    assert {name.rpartition(".")[0] for name in used} == {"relay.simulator.carrier"}
    carrier = [module for module in RELAY if module.startswith("relay.simulator.carrier")]
    needed = {name for module in carrier for name in _imports(module) if name.startswith("relay.simulator")}
    assert {name for name in needed if not name.startswith("relay.simulator.carrier")} == set()


def test_only_the_command_needs_the_caller() -> None:
    """The caller is imported by `relay call` alone."""
    importers = {
        module
        for module in RELAY
        if any(name.startswith("relay.cli.caller") for name in _imports(module))
        and not module.startswith("relay.cli.caller")
    }
    assert importers == {"relay.cli.call"}


def test_the_simulator_does_not_check_the_product_with_the_product() -> None:
    """The simulated carrier has its own frames, signatures and TwiML."""
    simulator = [module for module in RELAY if _part(module) == "relay.simulator"]
    assert [module for module in simulator if _imported_parts(module) - SIMULATOR_MAY_IMPORT] == []


def test_http_knows_no_handler() -> None:
    """What serves HTTP gets its handlers when it is made; it imports no room that has some."""
    web = {module for module in RELAY if _part(module) == "relay.http"}
    known = {"relay", "relay.agent", "relay.errors", "relay.logs", "relay.http"}
    assert {part for module in web for part in _imported_parts(module)} <= known


def test_only_the_command_line_knows_the_daemon() -> None:
    """Nothing that the daemon puts together imports the daemon, or the command that starts it."""
    users = {name: set(_imports(name)) for name in RELAY}
    knowing = {name: used for name, used in users.items() if "relay.daemon" in _imported_parts(name)}
    assert {_part(name) for name in knowing} == {"relay.cli", "relay.daemon"}
    starting = {name for name, used in knowing.items() if used & {"relay.daemon.life_cycle", "relay.daemon.wiring"}}
    assert starting == {"relay.cli.serve", "relay.daemon.life_cycle"}
    assert {name for name, used in users.items() if "relay.cli.main" in used} == {"relay.__main__"}


def test_no_module_is_imported_in_a_circle() -> None:
    """The modules of both packages can be put in an order in which each needs only earlier ones."""
    graph = {name: set(_imports(name)) & _modules().keys() - {name} for name in _modules()}
    graphlib.TopologicalSorter(graph).prepare()


def test_no_part_is_imported_in_a_circle() -> None:
    """The parts of `relay`, taken as wholes, can be put in such an order too."""
    graph: dict[str, set[str]] = {}
    for module in RELAY:
        graph.setdefault(_part(module), set()).update(_imported_parts(module) - {_part(module)})
    graphlib.TopologicalSorter(graph).prepare()


# ── what nobody may write ───────────────────────────────────────────────────────────────────────────────────────────


Rule = Callable[[ast.AST], bool]


def reads_the_clock(node: ast.AST) -> bool:
    """Whether `datetime` or `date` is asked for the present."""
    match node:
        case ast.Attribute(attr="now" | "utcnow" | "today", value=ast.Name(id="datetime" | "date")):
            return True
        case _:
            return False


def starts_a_task_that_nobody_owns(node: ast.AST) -> bool:
    """Whether a task is started outside all nurseries."""
    match node:
        case ast.Attribute(attr="spawn_system_task") | ast.alias(name="spawn_system_task"):
            return True
        case _:
            return False


def catches_too_much(node: ast.AST) -> bool:
    """Whether a handler would swallow a cancellation, or any error without a word."""
    match node:
        case ast.ExceptHandler(type=None) | ast.ExceptHandler(type=ast.Name(id="Exception"), body=[ast.Pass()]):
            return True
        case ast.ExceptHandler(type=ast.expr() as kinds):
            return "BaseException" in {getattr(each, "id", "") for each in ast.walk(kinds)}
        case _:
            return False


def takes_whatever_comes(node: ast.AST) -> bool:
    """Whether a memory channel's capacity is infinity, however that is written."""
    match node:
        case ast.Call(func=function, args=[capacity, *_]):
            made = function.value if isinstance(function, ast.Subscript) else function
            name = made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", "")
            return name == "open_memory_channel" and re.search(r"\binf\b", ast.unparse(capacity)) is not None
        case _:
            return False


def shields_without_end(node: ast.AST) -> bool:
    """Whether something is shielded from cancellation for as long as it likes."""
    match node:
        case ast.Call(func=ast.Attribute(attr="CancelScope"), keywords=given):
            named = {each.arg for each in given}
            return "shield" in named and not named & {"deadline", "relative_deadline"}
        case ast.Assign(targets=[ast.Attribute(attr="shield")]):
            return True
        case _:
            return False


@pytest.mark.parametrize("module", sorted(PURE))
def test_the_pure_part_is_reported_the_time(module: str) -> None:
    """What decides never asks what time it is: `datetime` is there for its values."""
    assert [ast.unparse(node) for node in _nodes(module) if reads_the_clock(node)] == []


@pytest.mark.parametrize(
    "rule",
    [starts_a_task_that_nobody_owns, catches_too_much, takes_whatever_comes, shields_without_end],
    ids=lambda rule: rule.__name__,
)
def test_structured_concurrency_is_honest(rule: Rule) -> None:
    """No task without a nursery, no swallowed cancellation, no boundless queue, no endless shield."""
    nodes = [(name, node) for name in _modules() for node in _nodes(name)]
    nodes += [(path.name, node) for path in _files("scripts") for node in ast.walk(ast.parse(path.read_text()))]
    assert [f"{name}:{getattr(node, 'lineno', 0)}" for name, node in nodes if rule(node)] == []


# Pictures that once stood for the field's own words, and what is written instead.
FORBIDDEN_WORDS = {
    "acquaintance": "client session",
    "attendance": "presence",
    "cough": "barge-in",
    "course": "transfer",
    "desk": "queue",
    "follower": "owner",
    "holder": "owner",
    "knock": "notification",
    "mend": "fix",
    "mischief": "fault_plan",
    "nobody": "none",
    "owed": "unanswered",
    "somebody": "caller, callee or client",
    "stirred": "notified",
    "taker": "owner",
    "told": "reported, notified",
    "visit": "presence",
    "visitor": "client",
    "whoever": "caller, callee or responder",
    "wish": "request",
    "wished": "requested",
}
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

FORBIDDEN_START = re.compile(r"(Say|Give|Tell|Let|Have|Take note|Word)\b")


def has_a_forbidden_word(node: ast.AST) -> bool:
    """Whether a name is made with a word of which the field has a better one, in the singular or the plural."""
    match node:
        case ast.Name(id=str(name)) | ast.Attribute(attr=str(name)) | ast.arg(arg=str(name)):
            pass
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            pass
        case _:
            return False
    words = {word.lower() for word in WORD.findall(name)}
    return any({word, word + "s", word + "es"} & words for word in FORBIDDEN_WORDS)


FORBIDDEN_TEXT = re.compile(r"\b(whoever|for good|hands full|twice is once)\b", re.IGNORECASE)


def has_a_forbidden_phrase(node: ast.AST) -> bool:
    """Whether a docstring or another text has a phrase that hides who acts, or an idiom."""
    match node:
        case ast.Constant(value=str(text)):
            return FORBIDDEN_TEXT.search(text) is not None
        case _:
            return False


def begins_with_a_forbidden_verb(node: ast.AST) -> bool:
    """Whether a docstring begins with a verb that hides what is done: return, send, store, raise."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return FORBIDDEN_START.match(ast.get_docstring(node) or "") is not None
        case _:
            return False


@pytest.mark.parametrize(
    "rule",
    [has_a_forbidden_word, has_a_forbidden_phrase, begins_with_a_forbidden_verb],
    ids=lambda rule: rule.__name__,
)
def test_one_thing_has_one_word(rule: Rule) -> None:
    """Names and docstrings use the words of telephony, MCP and Trio, and docstrings begin with plain imperatives."""
    nodes = [(name, node) for name in _modules() for node in _nodes(name)]
    assert [f"{name}:{getattr(node, 'lineno', 0)}" for name, node in nodes if rule(node)] == []


BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)")


def test_the_type_checker_is_only_silenced_for_a_reason() -> None:
    """Each `type: ignore` names the one error that it is about."""
    found = [
        f"{path}:{number}"
        for path in _files("actors", "relay", "scripts", "tests")
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if BARE_IGNORE.search(line)
    ]
    assert found == []


def test_long_files_have_a_reason() -> None:
    """The files of more than 300 lines are those that are listed here, each with its reason."""
    lengths = {path: len(path.read_text().splitlines()) for path in _files("actors", "relay", "scripts")}
    long = {str(path.relative_to(REPOSITORY)) for path, length in lengths.items() if length > LONGEST}
    assert long == LONG_FILES.keys()


# ── the rules see what they forbid ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (reads_the_clock, "datetime.now(UTC)"),
        (starts_a_task_that_nobody_owns, "trio.lowlevel.spawn_system_task(work)"),
        (starts_a_task_that_nobody_owns, "from trio.lowlevel import spawn_system_task"),
        (catches_too_much, "try: work()\nexcept: raise"),
        (catches_too_much, "try: work()\nexcept BaseException: raise"),
        (catches_too_much, "try: work()\nexcept (OSError, BaseException) as error: raise"),
        (catches_too_much, "try: work()\nexcept* BaseException: raise"),
        (catches_too_much, "try: work()\nexcept Exception: pass"),
        (takes_whatever_comes, "trio.open_memory_channel(math.inf)"),
        (takes_whatever_comes, "trio.open_memory_channel[int](float('inf'))"),
        (takes_whatever_comes, "open_memory_channel(inf)"),
        (shields_without_end, "trio.CancelScope(shield=True)"),
        (shields_without_end, "scope.shield = True"),
        (has_a_forbidden_word, "class AgentDesk: pass"),
        (has_a_forbidden_word, "def open_desks(): pass"),
        (has_a_forbidden_word, "async def order(wish): pass"),
        (has_a_forbidden_word, "self.heard_wishes = []"),
        (has_a_forbidden_word, "self.is_told = True"),
        (has_a_forbidden_phrase, "def note(): 'Add a note to whoever answers next.'"),
        (has_a_forbidden_phrase, "raise CallRefused('full', 'The carrier has its hands full.')"),
        (begins_with_a_forbidden_verb, "def cover(): 'Say whether it is there.'"),
        (begins_with_a_forbidden_verb, "async def note(): 'Take note of an answer.'"),
        (begins_with_a_forbidden_verb, "class Late: 'Let nothing in.'"),
    ],
)
def test_a_rule_finds_what_it_forbids(rule: Rule, code: str) -> None:
    """A rule that found nothing anywhere would pass for ever."""
    assert any(map(rule, ast.walk(ast.parse(code))))


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (reads_the_clock, "self.now, datetime(2026, 1, 1)"),
        (catches_too_much, "try: work()\nexcept Exception: report()"),
        (catches_too_much, "try: work()\nexcept OSError: pass"),
        (takes_whatever_comes, "trio.open_memory_channel[int](CAPACITY)"),
        (takes_whatever_comes, "min(deadline, math.inf)"),
        (shields_without_end, "trio.CancelScope(shield=True, deadline=soon)"),
        (shields_without_end, "trio.move_on_after(1, shield=True)"),
        (has_a_forbidden_word, "placeholder, desktop = 1, 2"),
        (has_a_forbidden_phrase, "def stay(): 'Look for goods.'"),
        (begins_with_a_forbidden_verb, "def letter(): 'Letters and words.'"),
    ],
)
def test_a_rule_lets_the_rest_pass(rule: Rule, code: str) -> None:
    """What only looks like the forbidden thing is left alone."""
    assert not any(map(rule, ast.walk(ast.parse(code))))


def test_imports_are_found_wherever_they_stand() -> None:
    """An import inside a function, or of a module by way of its package, is an import."""
    code = (
        "from relay import settings\ndef work():\n    import trio.testing\n    from actors.playback import Playback\n"
    )
    assert set(_imported_by(ast.walk(ast.parse(code)))) == {"relay.settings", "trio.testing", "actors.playback"}


@pytest.mark.parametrize(("line", "is_bare"), [("x  # type: ignore", True), ("x  # type: ignore[misc]", False)])
def test_a_bare_ignore_is_seen(line: str, is_bare: bool) -> None:
    """An ignore without a code is told from one with it."""
    assert bool(BARE_IGNORE.search(line)) == is_bare


# ── what a log must not show ────────────────────────────────────────────────────────────────────────────────────────

SECRET = re.compile(
    r"(^|_)(token|secret|ticket|password|key|digest|session_id|custom_parameters|database_url)$", re.IGNORECASE
)
NO_SECRETS = {
    "relay.simulator.carrier.voice_frames.Text.token",  # the carrier's word for a piece of speech
}


def _fields() -> Iterator[tuple[str, str, bool]]:
    """Yield the fields of all values: name in full, type, whether it is part of the repr."""
    for each in _classes():
        where = f"{each.__module__}.{each.__name__}"
        if attrs.has(each):
            yield from ((f"{where}.{one.name}", str(one.type), one.repr is not False) for one in attrs.fields(each))
        elif issubclass(each, pydantic.BaseModel):
            yield from ((f"{where}.{name}", str(one.annotation), one.repr) for name, one in each.model_fields.items())


def _classes() -> Iterator[type]:
    for name in MODULES:
        if name.endswith(("__main__", "espeak_worker")) or ".migrations." in name:
            continue  # which do something when they are imported
        module = importlib.import_module(name)
        yield from (each for each in vars(module).values() if isinstance(each, type) and each.__module__ == name)


def test_no_secret_is_part_of_a_repr() -> None:
    """A value that is logged, or stands in an exception's text, shows no token, ticket or session id of its own."""
    text = re.compile(r"(<class '|typing\.\w+\[)*(str|bytes|(Mapping|dict)\[str)\b")
    secret = {
        name: shown for name, kind, shown in _fields() if SECRET.search(name.rpartition(".")[2]) and text.match(kind)
    }
    assert len(secret) > 20
    assert {name for name, shown in secret.items() if shown} - NO_SECRETS == set()


@pytest.mark.parametrize("module", MODULES)
def test_no_text_of_an_exception_is_asked_for(module: str) -> None:
    """Failures go through `relay.logs.report`, which logs kinds and places."""
    calls = [each for each in _nodes(module) if isinstance(each, ast.Call)]
    named = [each for each in calls if isinstance(each.func, ast.Attribute) and each.func.attr == "exception"]
    assert not [each.lineno for each in named if ast.unparse(each.func) == "log.exception"]
    assert not [each.lineno for each in calls for given in each.keywords if given.arg == "exc_info"]
