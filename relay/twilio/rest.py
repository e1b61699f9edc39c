"""Calls that we place, and calls that we change, over the carrier's REST API.

    PlaceCall ─▶ pacing ─▶ one shielded request ─▶ PlacedCall
                  ▲              ├─ refused ───────▶ CarrierRefused; a 429 waits and goes back to pacing
                  └──────────────┤
                                 ├─ no answer ─────▶ CallOutcomeUnknown: look with find_recent, never repeat
                                 └─ the task was cancelled ───────▶ UnclaimedCall, to `on_unclaimed`

Placing a call is not idempotent and the API takes no idempotency key, so an answer that is lost must never lead to a
second call. A connection that was never made and a 429 placed nothing for certain; any other missing answer may have
placed a call.

Twilio's library builds the requests; the contract test holds them against its published description of the API.
Source: the vendor's pages on the Call resource, answering machine detection and REST API best practices.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import attrs
import httpx2
import structlog
import tenacity
import trio
from attrs.validators import ge, gt
from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

from relay.twilio.call_orders import (
    MAX_TWIML,
    STATUS_EVENTS,
    CallState,
    NumberState,
    PlaceCall,
    PlacedCall,
    UnclaimedCall,
)
from relay.twilio.call_sids import is_call_sid
from relay.twilio.http_client import TrioHttpClient
from relay.twilio.pacing import Pacer
from relay.twilio.rest_errors import (
    SILENT,
    CallOutcomeUnknown,
    CarrierRefused,
    refusal_of,
    silent,
    unknown_call,
    unreachable,
    was_never_processed,
)

log = structlog.get_logger(__name__)

_Result = TypeVar("_Result")

# Raised before a byte of the request was sent.
_NOTHING_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)

# The carrier's clock and ours differ a little, and it cuts fractions of a second off.
_CLOCK_SKEW = timedelta(seconds=5)
_RECENT_CALLS = 20
# The API matches parts of numbers, too.
_LIKE_NUMBERS = 20


@attrs.frozen(kw_only=True)
class CarrierOptions:
    """How the API is used; times in seconds.

    `timeout` bounds each request from connection to last byte. `attempts` counts tries of a request that the carrier
    turned away as one too many; the wait between them is random, up to `backoff`, then twice that, up to `max_backoff`.
    """

    timeout: float = attrs.field(default=10.0, validator=gt(0))
    connect_timeout: float = attrs.field(default=5.0, validator=gt(0))
    calls_per_second: float = attrs.field(default=1.0, validator=gt(0))
    attempts: int = attrs.field(default=4, validator=ge(1))
    backoff: float = attrs.field(default=0.5, validator=ge(0))
    max_backoff: float = attrs.field(default=8.0, validator=ge(0))


def _utc_now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen(eq=False)
class CarrierCalls:
    """The calls of one account; see `open_carrier_calls`. For any number of tasks at once.

    All methods raise `CarrierRefused` if the carrier refuses. Its messages and tracebacks hold no numbers: the
    library's own error, which does, is not chained.
    """

    _client: Client
    _options: CarrierOptions
    _on_unclaimed: Callable[[UnclaimedCall], None]
    _pacer: Pacer
    _now: Callable[[], datetime] = _utc_now

    async def create(self, request: PlaceCall) -> PlacedCall:
        """Place a call, paced to the number of calls a second that the account may start.

        Raises `CarrierRefused` if no call was placed, `CallOutcomeUnknown` if that is not known, and what `reserve`
        raises, with no call placed. After a 429 it
        waits and tries again, a bounded number of times; nothing else is ever repeated.

        Cancelled before the request went out, nothing was placed. Cancelled after, the request is carried to its end,
        for at most the time-out, and what came of it is handed to `on_unclaimed` before the cancellation goes on. So
        exactly one learns of every call: the caller of this, or `on_unclaimed`.
        """
        return await self._repeat_while_busy(lambda: self._create_once(request))

    async def _create_once(self, request: PlaceCall) -> PlacedCall:
        waited = await self._pacer.wait_turn()
        since = self._now()
        placed: PlacedCall | None = None
        unknown: CallOutcomeUnknown | None = None
        try:
            with trio.fail_after(self._options.timeout, shield=True), _translated():
                answer = await self._client.calls.create_async(**_create_arguments(request))
                # Without a SID the call cannot be followed, so it is unclaimed too, and will be looked for.
                if is_call_sid(str(answer.sid)):
                    placed = PlacedCall(answer.sid, answer.status or "queued", waited)
        except CarrierRefused as refusal:
            if refusal.code != SILENT:
                raise
        except trio.TooSlowError:
            pass
        if placed is None:
            unknown = CallOutcomeUnknown(request.to, request.from_, since)
        # The shield is over: a cancellation that is delivered here arrived during the request.
        if trio.current_effective_deadline() == -math.inf:
            log.warning("call_unclaimed", call_sid=placed.sid if placed else None)
            self._on_unclaimed(UnclaimedCall(request=request, placed=placed, since=since))
            await trio.lowlevel.checkpoint_if_cancelled()
        if unknown is not None:
            raise unknown
        assert placed is not None
        return placed

    async def redirect(self, call_sid: str, twiml: str) -> None:
        """Redirect a live call: it stops what it is doing and executes `twiml`.

        A session that is open is closed by this and its action URL is not to be relied on, so use it for a call whose
        socket is lost, not for a normal transfer. Raises `ValueError` for TwiML of more than `MAX_TWIML` characters.
        Cancelled, or refused as `carrier_silent`, it may have happened or not.
        """
        if not 0 < len(twiml) <= MAX_TWIML:
            raise ValueError(f"TwiML of {len(twiml)} characters; from 1 to {MAX_TWIML} are allowed")
        await self._repeat_while_busy(lambda: self._update(call_sid, twiml=twiml))

    async def hang_up(self, call_sid: str) -> None:
        """End a call, ringing or live; no-op if it is over already. If cancelled, the call may have ended or not."""
        try:
            await self._repeat_while_busy(lambda: self._update(call_sid, status="completed"))
        except CarrierRefused as refusal:
            if refusal.code != "call_over":
                raise

    async def fetch(self, call_sid: str) -> CallState:
        """Return the state of a call. Raises `CarrierRefused` with `unknown_call` if there is none."""
        _check_sid(call_sid)

        async def ask() -> CallState:
            with self._in_time(), _translated():
                return _state(await self._client.calls(call_sid).fetch_async())

        return await self._repeat_while_busy(ask)

    async def find_number(self, number: str) -> NumberState | None:
        """Return the webhook of one of the account's numbers (E.164), None if the account has no such number.

        Source: the carrier's page on the IncomingPhoneNumber resource.
        """

        async def ask() -> NumberState | None:
            with self._in_time(), _translated():
                found = await self._client.incoming_phone_numbers.list_async(phone_number=number, limit=_LIKE_NUMBERS)
            return next((_number_state(each) for each in found if each.phone_number == number), None)

        return await self._repeat_while_busy(ask)

    async def set_webhooks(self, number: NumberState, voice_url: str, status_url: str) -> None:
        """Set where a number leads: `voice_url` is asked about its calls, and `status_url` learns how they end.

        Idempotent. Cancelled, or refused as `carrier_silent`, it may have happened or not.
        Source: the carrier's page on the IncomingPhoneNumber resource.
        """

        async def update() -> None:
            with self._in_time(), _translated():
                await self._client.incoming_phone_numbers(number.sid).update_async(
                    voice_url=voice_url, voice_method="POST", status_callback=status_url, status_callback_method="POST"
                )

        await self._repeat_while_busy(update)

    async def find_recent(self, to: str, from_: str, since: datetime) -> Sequence[CallState]:
        """List the calls that were placed from one number to another since an instant, the newest first.

        For a `CallOutcomeUnknown`: an empty list some seconds later means that no call was placed. At most the last
        20 calls between the two are looked at. The API's own filter by start time is not used: it knows days only, and
        a call that is still queued has no start.
        """

        async def ask() -> Sequence[CallState]:
            with self._in_time(), _translated():
                found = await self._client.calls.list_async(to=to, from_=from_, limit=_RECENT_CALLS)
                return [_state(each) for each in found if is_call_sid(str(each.sid)) and _was_placed_since(each, since)]

        return await self._repeat_while_busy(ask)

    async def _update(self, call_sid: str, **fields: str) -> None:
        _check_sid(call_sid)
        with self._in_time(), _translated():
            await self._client.calls(call_sid).update_async(**fields)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        try:
            with trio.fail_after(self._options.timeout):
                yield
        except trio.TooSlowError:
            raise silent() from None

    async def _repeat_while_busy(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        options = self._options
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(was_never_processed),
            stop=tenacity.stop_after_attempt(options.attempts),
            wait=tenacity.wait_random_exponential(multiplier=options.backoff, max=options.max_backoff),
            sleep=trio.sleep,
            reraise=True,
        ):
            with attempt:
                return await work()
        raise AssertionError("the loop ends with a result or an error")


@asynccontextmanager
async def open_carrier_calls(
    account_sid: str,
    auth_token: str,
    *,
    on_unclaimed: Callable[[UnclaimedCall], None],
    base_url: str | None = None,
    options: CarrierOptions | None = None,
    reserve: Callable[[float], Awaitable[float]] | None = None,
) -> AsyncIterator[CarrierCalls]:
    """Open an account at the carrier, with one pool of connections for all that is asked of it.

    `on_unclaimed` is told of calls whose placing was cancelled half-way (see `CarrierCalls.create`); it runs in the
    cancelled task, must not wait and must not raise. `reserve` paces all processes of the account, see `Pacer`; without
    it this one is the only one. `base_url` is another origin for the API. The vendor's
    `TWILIO_EDGE` and `TWILIO_REGION` are honoured by its library.
    """
    chosen = options or CarrierOptions()
    limits = httpx2.Timeout(chosen.timeout, connect=chosen.connect_timeout)
    async with httpx2.AsyncClient(timeout=limits, follow_redirects=False) as http:
        client = Client(account_sid, auth_token, http_client=TrioHttpClient(http, base_url=base_url))
        yield CarrierCalls(client, chosen, on_unclaimed, Pacer(chosen.calls_per_second, reserve))


def _create_arguments(request: PlaceCall) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "to": request.to,
        "from_": request.from_,
        "twiml": request.twiml,
        "status_callback": request.status_callback,
        "status_callback_method": "POST",
        "status_callback_event": list(STATUS_EVENTS),
        "timeout": request.ring_seconds,
        "time_limit": request.time_limit,
    }
    if request.detect_machine is not None:
        arguments |= {
            # "DetectMessageEnd" waits for the end of a voicemail's greeting, and with it every person waits longer.
            "machine_detection": "Enable",
            "async_amd": "true",
            "async_amd_status_callback": request.detect_machine,
            "async_amd_status_callback_method": "POST",
        }
    return arguments


@contextmanager
def _translated() -> Iterator[None]:
    """Translate errors of the carrier, the library and the network to `CarrierRefused`, without numbers in it."""
    try:
        yield
    except TwilioException as error:
        raise refusal_of(error) from None
    except _NOTHING_SENT:
        raise unreachable() from None
    except httpx2.HTTPError:
        raise silent() from None


def _check_sid(call_sid: str) -> None:
    # It becomes part of a path, so only a valid id may get there.
    if not is_call_sid(call_sid):
        raise unknown_call()


def _was_placed_since(call: Any, since: datetime) -> bool:
    if call.direction != "outbound-api":
        return False
    created = _instant(call.date_created)
    # A call that the carrier has only just queued may have no date yet.
    return call.status == "queued" if created is None else created >= since - _CLOCK_SKEW


def _number_state(number: Any) -> NumberState:
    return NumberState(
        sid=number.sid,
        voice_url=number.voice_url or "",
        voice_method=number.voice_method or "POST",
        is_led_elsewhere=bool(number.voice_application_sid or number.trunk_sid),
    )


def _state(call: Any) -> CallState:
    return CallState(
        sid=call.sid,
        status=call.status,
        created_at=_instant(call.date_created),
        started_at=_instant(call.start_time),
        ended_at=_instant(call.end_time),
        duration=int(call.duration) if call.duration else None,
        answered_by=call.answered_by or None,
    )


def _instant(value: object) -> datetime | None:
    # The library returns dates that it cannot parse as text.
    return value.astimezone(UTC) if isinstance(value, datetime) else None
