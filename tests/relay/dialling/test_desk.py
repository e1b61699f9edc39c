from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import UnknownCall
from relay.dialling.desk import OutboundDesk
from relay.dialling.opt_out_requests import DoNotCallWishes
from relay.dialling.outbound_calls import Conversations
from relay.dialling.requests import CallRequest, TransferRequest, VoiceMessageRequest
from relay.dialling.voice_messages import VoiceMessages
from relay.mcp.ports import Outbound
from relay.speech.audio_store import AudioOptions, AudioStore
from relay.twilio import ports as web_ports
from tests.relay.dialling.parties import DEFAULTS, PERSON, THEIRS, Parties, agent


def desk(parties: Parties, directory: Path) -> OutboundDesk:
    """Put everything together."""
    return OutboundDesk(
        conversations=Conversations(
            dialler=parties.dialler(), front_desk=parties.desk, addresses=parties.addresses, defaults=DEFAULTS
        ),
        voice_messages=VoiceMessages(
            dialler=parties.dialler(),
            records=parties.records,
            engine=None,
            audio=AudioStore(AudioOptions(directory=directory)),
            addresses=parties.addresses,
            defaults=DEFAULTS,
        ),
        transfers=parties.transfers(),
        wishes=DoNotCallWishes(gate=parties.gate, live_calls=parties.calls, records=parties.records),
    )


async def test_each_operation_reaches_its_part(tmp_path: Path) -> None:
    """The four doors of the tools lead to calls, messages, transfers and the do-not-call list."""
    parties = Parties()
    outbound: Outbound = desk(parties, tmp_path)
    assert (await outbound.make_call(agent(), CallRequest(to=THEIRS)))["status"] == "queued"
    assert (await outbound.send_voice_message(agent(), VoiceMessageRequest(to=THEIRS, text="Hello")))[
        "audioUrl"
    ] is None
    with pytest.raises(UnknownCall):
        await outbound.transfer_call(agent(), TransferRequest(call_sid="CA9", to=PERSON))
    assert (await outbound.stop_calling(agent(), number=THEIRS, call_sid="", reason=""))["added"]


def test_transfers_are_what_the_webhooks_need() -> None:
    """The web side's protocol is met, as the type checker sees it."""
    transfers: web_ports.Transfers = Parties().transfers()
    assert callable(transfers.hand_off)
