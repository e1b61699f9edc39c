"""The directory of a node: which nodes are alive, and which of them is the home of an agent.

    a request ──▶ find_home ─┬─ here (`is_here`) ─▶ serve
                             ├─ at a node ─▶ find_node ─┬─ pass on ── refused, silent ─▶ dead? ─▶ take_home
                             │                          └─ None: dead ─▶ take_home
                             └─ None: nobody's ─▶ take_home, once the request is known to be authentic

    each second ──beat──▶ database ──▶ the other nodes, the homes that we have by now

An agent's client sessions and calls are all on its home, so what belongs to one agent never spans two nodes. A home
changes by compare and set in the database alone (`relay.store.homes`); what is known here may be a second old, and then
a request goes to a node that is not the home any more and says so (421: `forget`, and look again).

Alive is who beats, by the database's clock. A node that refuses a connection is dead at once; one that does not answer
is dead when it was not seen for `SILENT_SECONDS`; else it can only not be reached from here, and nothing is taken from
it. Dead is a node until it is seen again after that.

Beats go to the database by a connection of their own, beside the one writer of all that calls have to store: where
that stands still, this node is seen all the same, keeps its homes, and goes on with its calls. What is read with a beat
may so be older than what this node has just written of a home, and arrive later. Nothing waits for the other, because a
beat would then stand still with the writer. It goes by epochs and by times instead, see `_learn`.

A node that cannot beat for `LOST_SECONDS`, while another one can, is lost, and lets go of all its homes: by then others
may have taken them. It goes on as new with its next beat. Where the database is away for all of them nobody can take
anything, so each goes on with what it has. Who was frozen learns from its next beat what was taken meanwhile; and who
could not beat itself takes nobody for unseen who could not either.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

import attrs
import structlog
import trio

from actors.errors import StoreFailed
from relay.cluster.peers import can_beat
from relay.errors import ClusterError, DatabaseError
from relay.store.database_clock import DatabaseClock
from relay.store.homes import Home, Homes
from relay.store.members import SILENT_SECONDS, Beat, Candidate, Members, Node
from relay.store.runs import GONE_SECONDS

log = structlog.get_logger(__name__)

BEAT_SECONDS = 1.0
# Between two beats at least, where a client that has come is not to wait for the next one.
HURRY_SECONDS = 0.1
# A second or two before the others take a node for dead, so that it has let go by then.
LOST_SECONDS = 8.0
# How long a home that is elsewhere is remembered. An outdated one costs a hop.
CACHE_SECONDS = 2.0
# For it to be read anew, which takes a millisecond: the carrier waits meanwhile, and its caller.
PATIENCE_SECONDS = 2.0
# For a home to be given away: who gives is about to end, and its calls have yet to hear a farewell.
GIVE_SECONDS = 1.5
# How often an earlier node of our name is looked after, which may be dead.
LOOK_SECONDS = 0.5


@attrs.frozen(kw_only=True)
class Tenants:
    """What a home is to the agents that live in it. Each is called by the directory, and must neither wait nor raise.

    `on_come` is for an agent whose home is here from now on, `on_gone` for one whose home it was until now;
    `with_client` are those of the named agents whose client is here, or was lost a moment ago.
    """

    on_come: Callable[[Home], None]
    on_gone: Callable[[str], None]
    with_client: Callable[[Iterable[str]], frozenset[str]]


@attrs.frozen
class _Kept:
    """A home, and when it was known here, by Trio's time: what is begun after that cannot read anything older."""

    home: Home
    at: float


@contextmanager
def _given_up() -> Iterator[None]:
    """Raise `StoreFailed` where the block takes longer than a home may take to be given."""
    try:
        with trio.fail_after(GIVE_SECONDS):
            yield
    except trio.TooSlowError:
        raise StoreFailed(f"the database has not answered for {GIVE_SECONDS:g} seconds") from None


@attrs.define(eq=False)
class Directory:
    """The nodes and homes as one node knows them, in one Trio thread, with one task in `run`.

    `join` comes first. `clock` is set to the database's by each beat. `can_beat` returns whether any of the nodes can
    reach the database; it must not raise.
    """

    candidate: Candidate
    members: Members
    homes: Homes
    tenants: Tenants
    clock: DatabaseClock = attrs.field(factory=DatabaseClock)
    can_beat: Callable[[Sequence[Node]], Awaitable[bool]] = can_beat
    # Whether this node leaves the cluster: new homes are elsewhere.
    is_leaving: bool = attrs.field(default=False, init=False)
    # Whether it has let go of its homes, because it could not beat.
    is_lost: bool = attrs.field(default=False, init=False)
    _nodes: dict[str, Node] = attrs.field(factory=dict, init=False)
    # Nodes that are dead, and since when by the database's clock.
    _dead: dict[str, datetime] = attrs.field(factory=dict, init=False)
    _here: dict[str, _Kept] = attrs.field(factory=dict, init=False)
    _elsewhere: dict[str, _Kept] = attrs.field(factory=dict, init=False)
    # When the last beat that arrived was begun, and since when none was missing.
    _beaten: float = attrs.field(factory=trio.current_time, init=False)
    _steady_since: float = attrs.field(factory=trio.current_time, init=False)
    # Whether the last beat failed.
    _is_late: bool = attrs.field(default=False, init=False)
    # Set to have the next beat at once.
    _is_urgent: trio.Event = attrs.field(factory=trio.Event, init=False)
    # Beats arrive in their order.
    _beating: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    # The agents whose homes are being given away: what is read of them may be before it or after.
    _giving: set[str] = attrs.field(factory=set, init=False)

    @property
    def node(self) -> str:
        """The name of this node."""
        return self.candidate.node.name

    @property
    def is_seen(self) -> bool:
        """Whether the other nodes see this one: a beat of the last `SILENT_SECONDS` has arrived."""
        return not self._is_overdue(SILENT_SECONDS)

    # ── homes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def is_here(self, agent_id: str) -> bool:
        """Return whether this node is the agent's home, as of the last beat."""
        return agent_id in self._here

    async def find_home(self, agent_id: str) -> Home | None:
        """Return the agent's home, perhaps as it was `CACHE_SECONDS` ago; None if no node was ever that.

        Where the database does not answer it is where it was, as far as that is known: while nobody can take it, it
        stays there. Raises `DatabaseError`, also while this node is lost.
        """
        if (kept := self._here.get(agent_id)) is not None:
            return kept.home
        self._require_beat()
        kept = self._elsewhere.get(agent_id)
        if kept is None:
            return await self._look_up(agent_id)
        if not self.is_seen or kept.at + CACHE_SECONDS > trio.current_time():
            return kept.home
        with trio.move_on_after(PATIENCE_SECONDS), suppress(DatabaseError):
            return await self._look_up(agent_id)
        return kept.home

    async def take_home(self, agent_id: str) -> Home:
        """Make this node the agent's home if none is, or a dead one; return the home that the agent has then.

        Only for an authentic request of a registered agent. A node that leaves gives the home to another one, if there
        is one. Raises `DatabaseError` or `StoreFailed`; cancelled, the home may be taken all the same.
        """
        self._require_beat()
        home = await self._look_up(agent_id)
        if home is not None and home.node not in self._nodes and home.node != self.node:
            await self._beat()  # it may have joined a moment ago
        if home is not None and not self._is_dead(home.node):
            return home
        began = trio.current_time()
        taken = await self.homes.take(agent_id, self._new_home(), home)
        log.info("home_taken", agent_id=agent_id, node=taken.node, epoch=taken.epoch, before=home and home.node)
        self._learn(taken, began)
        return taken

    def forget(self, agent_id: str) -> None:
        """Forget where an agent's home is elsewhere: its node says that it is not. The next look-up reads it anew.

        If it reads the same, that node has lost its homes: see `silent`.
        """
        self._elsewhere.pop(agent_id, None)

    # ── nodes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def find_node(self, name: str) -> Node | None:
        """Return a node, also this one; None if there is none of that name, or it is dead."""
        if name == self.node:
            return attrs.evolve(self.candidate.node, is_leaving=self.is_leaving)
        return None if self._is_dead(name) else self._nodes[name]

    def others(self) -> list[Node]:
        """Return the other nodes that are not dead, by name."""
        return [self._nodes[name] for name in sorted(self._nodes) if not self._is_dead(name)]

    def refused(self, name: str) -> None:
        """Report that a node has refused a connection: it is dead."""
        self._bury(name, "refused")

    def silent(self, name: str) -> bool:
        """Report that a node has not answered, or that it has lost its homes; return whether it is dead.

        If it is not, it was seen lately and can only not be reached from here: ask again later (503).
        """
        if name in self._nodes and self._nodes[name].unseen >= SILENT_SECONDS:
            self._bury(name, "silent")
        return self._is_dead(name)

    async def leave(self) -> None:
        """Leave: new homes are elsewhere, and the other nodes learn it with their next beat.

        Beats at once, for a second at most: a node that joined since the last beat may be the one that stays. If the
        database does not answer, `run` goes on to try. May be cancelled at any point.
        """
        self.is_leaving = True
        with trio.move_on_after(BEAT_SECONDS), suppress(StoreFailed):
            await self._beat()

    def homes_here(self) -> list[str]:
        """Return the agents whose home this node is, as of the last beat."""
        return list(self._here)

    def note_client(self, agent_id: str) -> None:
        """Store at once that a client of an agent is here, whose next home is to wait for it. Never waits.

        No-op where that is stored, or the home is elsewhere.
        """
        kept = self._here.get(agent_id)
        if kept is not None and not kept.home.had_client:
            self._is_urgent.set()

    @property
    def can_give(self) -> bool:
        """Whether this node leaves and another one stays, which homes can be given to."""
        return self._new_home() != self.node

    async def give(self, agent_ids: Iterable[str]) -> None:
        """Pass the homes of these agents to nodes that stay.

        Whether their clients are here is stored before. The tenants are not told: who gives knows. Where no other node
        stays, nothing is given. Raises `DatabaseError` or `StoreFailed`, also when the database has not answered for
        `GIVE_SECONDS`; then some may be given, and one more later.
        """
        if not self.can_give:
            return
        with _given_up():
            await self._beat()
        for agent_id in agent_ids:
            await self._give(agent_id)

    async def _give(self, agent_id: str) -> None:
        kept, node = self._here.get(agent_id), self._new_home()
        if kept is None or node == self.node:
            return
        self._giving.add(agent_id)  # else a beat might find it gone, and take it for a loss
        try:
            with _given_up():
                home = await self.homes.take(agent_id, node, kept.home)
        finally:
            self._giving.discard(agent_id)
        if home.node != self.node and self._here.pop(agent_id, None) is not None:
            self._elsewhere[agent_id] = _Kept(home, trio.current_time())
            log.info("home_given", agent_id=agent_id, node=home.node, epoch=home.epoch)

    # ── membership ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def join(self) -> None:
        """Become a member of the cluster, once an earlier node of this name was not seen for `SILENT_SECONDS`.

        Raises `ClusterError` or `DatabaseError`, which say what to do.
        """
        try:
            await self._enter()
            await self._beat()
        except StoreFailed as error:
            raise DatabaseError(f"The cluster cannot be joined: {error}. Look after its database.") from error
        log.info("joined", node=self.node, others=[node.name for node in self.others()])

    async def _enter(self) -> None:
        seen_at = await self.members.enter(self.candidate)
        while seen_at is not None:
            await trio.sleep(LOOK_SECONDS)
            before, seen_at = seen_at, await self.members.enter(self.candidate)
            if seen_at not in {None, before}:
                raise ClusterError(
                    f"Another relay is node {self.node} of this cluster, and is alive. Stop it first, or set "
                    "RELAY_NODE to a name of this one's own."
                )

    async def run(self) -> None:
        """Beat each second, and when a client has come; let go of all homes when that fails for `LOST_SECONDS`.

        Runs until cancelled, which may be at any point. Raises `ClusterError` where another run has this node's name.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notice_loss)
            while True:
                began, self._is_urgent = trio.current_time(), trio.Event()
                try:
                    await self._beat()
                    await self._end_gone()
                except StoreFailed as error:
                    if not self._is_late:
                        log.warning("not_beaten", cause=str(error))
                    self._is_late = True
                await trio.sleep_until(began + HURRY_SECONDS)
                with trio.move_on_at(began + BEAT_SECONDS):
                    await self._is_urgent.wait()

    async def _beat(self) -> None:
        async with self._beating:
            began = trio.current_time()
            beat = await self.members.beat(
                self.candidate.node.boot, is_leaving=self.is_leaving, had_client=self._changed_clients()
            )
            self._on_beat(beat, began)

    async def _end_gone(self) -> None:
        gone = [node.boot for node in self._nodes.values() if node.unseen >= GONE_SECONDS]
        if gone:
            await self.members.end(gone)

    async def _notice_loss(self) -> None:
        others_since = math.inf
        while True:
            await trio.sleep_until(self._beaten + SILENT_SECONDS)
            asked = trio.current_time()
            if self._is_overdue(SILENT_SECONDS) and await self.can_beat(list(self._nodes.values())):
                others_since = min(others_since, asked)
            else:
                others_since = math.inf
            # They have it for as long as it takes to be lost: they may only have had it back a moment earlier.
            is_alone = trio.current_time() - others_since >= LOST_SECONDS - SILENT_SECONDS
            if not self.is_lost and is_alone and self._is_overdue(LOST_SECONDS):
                self.is_lost = True
                log.error("node_lost", homes=len(self._here), why=f"no beat for {LOST_SECONDS:g} seconds")
                for agent_id in list(self._here):
                    self._let_go(agent_id)
            await trio.sleep(BEAT_SECONDS / 2)

    def _is_overdue(self, seconds: float) -> bool:
        return self._beaten + seconds <= trio.current_time()

    def _on_beat(self, beat: Beat, began: float) -> None:
        if began - self._beaten >= SILENT_SECONDS:
            self._steady_since = began
        self._beaten, self._is_late = began, False
        if self.is_lost and not self._is_overdue(LOST_SECONDS):
            self.is_lost = False
            log.warning("node_back", node=self.node)
        if beat.offset is not None:
            self.clock.offset = beat.offset
        self._note_nodes(beat, steady=began - self._steady_since)
        homes = {home.agent_id: home for home in beat.homes}
        for agent_id, kept in list(self._here.items()):
            # What was taken since it was begun may not be in it; if it is another's by now, the next one says so.
            if kept.at < began and agent_id not in homes and agent_id not in self._giving:
                self._let_go(agent_id)
        if not self.is_lost:
            for home in homes.values():
                self._learn(home, began)

    def _note_nodes(self, beat: Beat, steady: float) -> None:
        known = self._nodes
        # Nodes that beat again after all were kept from it do not do so in the very same moment.
        nodes = (attrs.evolve(node, unseen=min(node.unseen, steady)) for node in beat.others)
        self._nodes = {node.name: node for node in nodes}
        for node in beat.others:
            since = self._dead.get(node.name)
            is_new = node.name in known and known[node.name].boot != node.boot
            if since is not None and (is_new or (beat.now - since).total_seconds() > node.unseen):
                del self._dead[node.name]
                log.info("node_alive", node=node.name)
        self._dead = {name: since for name, since in self._dead.items() if name in self._nodes}

    def _changed_clients(self) -> dict[str, bool]:
        """Return the homes here in which a client has come or gone since it was last stored, with whether it is here.

        A beat stores what it is given, and returns what there was before: the next one confirms it.
        """
        with_client = self.tenants.with_client(self._here)
        return {
            agent_id: agent_id in with_client
            for agent_id, kept in self._here.items()
            if kept.home.had_client != (agent_id in with_client)
        }

    # ── what is known of homes ──────────────────────────────────────────────────────────────────────────────────────

    async def _look_up(self, agent_id: str) -> Home | None:
        began = trio.current_time()
        home = await self.homes.find(agent_id)
        if home is not None:
            self._learn(home, began)
        return home

    def _learn(self, home: Home, began: float) -> None:
        """Note a home that was taken, or read, in what was begun at `began`, unless something newer is known.

        Beats, look-ups, takes and gifts are under way at the same time, over connections of their own, and arrive in
        any order. Of two that overlap the higher epoch is the newer: it counts every change of the node. It begins anew
        where an agent was removed and registered again; so what was begun after something was known is newer in any
        case. Nothing is let go for what was begun before it was known.
        """
        agent_id, kept = home.agent_id, self._here.get(home.agent_id)
        if agent_id in self._giving or self._is_outdated(home, began):
            return
        if home.node != self.node:
            if kept is not None:
                self._let_go(agent_id)
            self._elsewhere[agent_id] = _Kept(home, trio.current_time())
            return
        if self.is_lost:
            return
        if kept is not None and kept.home.epoch != home.epoch:
            self._let_go(agent_id)
            kept = None
        self._elsewhere.pop(agent_id, None)
        self._here[agent_id] = _Kept(home, trio.current_time())
        if kept is None:
            self.tenants.on_come(home)

    def _is_outdated(self, home: Home, began: float) -> bool:
        known = self._here.get(home.agent_id) or self._elsewhere.get(home.agent_id)
        if known is None:
            return False
        if known.home.epoch > home.epoch:
            return known.at >= began
        return known.home.epoch == home.epoch and known.at > began

    def _let_go(self, agent_id: str) -> None:
        del self._here[agent_id]
        log.warning("home_gone", agent_id=agent_id)
        self.tenants.on_gone(agent_id)

    def _new_home(self) -> str:
        staying = [node.name for node in self.others() if not node.is_leaving and node.unseen < SILENT_SECONDS]
        return random.choice(staying) if self.is_leaving and staying else self.node  # noqa: S311 - no secret

    def _is_dead(self, name: str) -> bool:
        if name == self.node:
            return False
        node = self._nodes.get(name)
        return node is None or node.unseen >= GONE_SECONDS or name in self._dead

    def _bury(self, name: str, why: str) -> None:
        if name in self._nodes and name not in self._dead:
            self._dead[name] = self.clock()
            log.warning("node_dead", node=name, why=why, url=self._nodes[name].url)

    def _require_beat(self) -> None:
        if self.is_lost:
            raise DatabaseError("This node has no connection to the database of its cluster, and so it has no homes.")
