"""Every address at which the carrier reaches us, and what their queries carry.

A query is covered by the carrier's signature, so what is in it need not be remembered, and another node can take over
the call: `attempt` numbers the sessions of a call from 0, `lost` counts those of them that broke, `voice` says that the
carrier refused the call's voice, `moving` how often the caller of a call that moves was held, `confirm` that a key is
asked for, `order` is how we know a call before it has a name.

A fragment says how often and after what the carrier tries a request again; it is neither sent nor signed. What we order
carries it, because all our answers are the same for a repeated request; the address of a new call is the operator's.
Whether it counts for the action of a `<Connect>` is not documented.

Source: the carrier's page on connection overrides.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import attrs

NO_VOICE = "none"
# Twice more: where no connection was had, where no answer came, and where what stands in front of us has nobody to ask.
RETRIES = "#rc=2&rp=ct,rt,5xx"


@attrs.frozen
class CarrierUrls:
    """The addresses of each agent's webhooks, and of audio. `public_url` is our origin, without a slash at its end.

    `node` is the name of this node of a cluster, empty where there is none: a ticket is good at the node that made it,
    so the voice socket's address names that. What stands in front of the nodes may send it straight there.
    """

    public_url: str
    node: str = ""

    def voice(self, agent_id: str) -> str:
        """Return the URL that is asked about a new call."""
        return self._of(agent_id, "voice")

    def voice_socket(self, agent_id: str) -> str:
        """Return the address of the voice socket: `wss`, or `ws` where our origin is `http`."""
        origin = f"ws{self.public_url.removeprefix('http')}"
        of_node = f"/n/{self.node}" if self.node else ""
        return f"{origin}{of_node}/webhooks/{agent_id}/voice-ws"

    def voice_ended(
        self, agent_id: str, attempt: int = 0, *, lost: int = 0, is_voiceless: bool = False, holds: int = 0
    ) -> str:
        """Return the URL that is asked when a session of a call is over, or a caller was held so many times."""
        query: dict[str, int | str] = {"attempt": attempt, "lost": lost}
        query |= {"voice": NO_VOICE} if is_voiceless else {}
        query |= {"moving": holds} if holds else {}
        return self._ordered(agent_id, "voice-ended", query)

    def call_status(self, agent_id: str, order: str = "") -> str:
        """Return the URL of a call's status callbacks."""
        return self._ordered(agent_id, "call-status", {"order": order} if order else {})

    def answered_by(self, agent_id: str) -> str:
        """Return the URL that learns whether a person or a voicemail picked up."""
        return self._ordered(agent_id, "answered-by")

    def transfer_ended(self, agent_id: str, attempt: int, *, confirm: bool) -> str:
        """Return the URL that is asked when a transfer is over; `attempt` is of the session that the caller came from.

        Sessions lost before do not count any more: the one that was passed on was a good one.
        """
        query = {"attempt": attempt, "lost": 0} | ({"confirm": 1} if confirm else {})
        return self._ordered(agent_id, "transfer-ended", query)

    def whisper(self, agent_id: str) -> str:
        """Return the URL of the whisper for the callee of a transfer."""
        return self._ordered(agent_id, "whisper")

    def whisper_answer(self, agent_id: str) -> str:
        """Return the URL that learns which key they pressed."""
        return self._ordered(agent_id, "whisper-answer")

    def audio(self, name: str) -> str:
        """Return where the audio of that name is fetched."""
        return f"{self.public_url}/audio/{name}.wav"

    def _ordered(self, agent_id: str, name: str, query: Mapping[str, int | str] | None = None) -> str:
        return self._of(agent_id, name, query) + RETRIES

    def _of(self, agent_id: str, name: str, query: Mapping[str, int | str] | None = None) -> str:
        address = f"{self.public_url}/webhooks/{agent_id}/{name}"
        return f"{address}?{urlencode(query)}" if query else address
