"""The audio of voice messages, as the carrier fetches it: `GET /audio/<name>.wav`, ranges and conditions included.

The name is the permission (see relay/speech/audio_store.py), so it is never logged, and what is not there, what has
expired and what never was look the same. The carrier's fetcher is a caching proxy, which honours `ETag` and
`Cache-Control` (its page on `<Play>`); it is allowed to keep the audio for as long as we do, and no longer.

It is read as it is sent, a piece at a time, so a slow reader costs one piece of memory; the framework's limit on
an answer (60 s) ends one that is too slow. The framework's own body of a file was the alternative: it leaves the file
open when the reader hangs up while it is being opened. Ranges and conditions are those of RFC 9110, sections 13 and 14.
"""

from __future__ import annotations

import math

import attrs
import structlog
from quart import Blueprint, make_response, request
from quart.typing import ResponseTypes
from quart.wrappers.response import ResponseBody
from quart_trio.wrappers import TrioResponse
from werkzeug.datastructures import Range
from werkzeug.sansio.http import is_resource_modified

from relay.errors import DatabaseError, error_document
from relay.speech.audio_store import AudioStore, StoredAudio

log = structlog.get_logger(__name__)

PIECE_BYTES = 65_536
"""What is read and sent at once: four seconds of speech."""

_NOT_FOUND = error_document("not_found", "There is no such audio, or it has expired.")
_NOT_SATISFIABLE = error_document("requested_range_not_satisfiable", "The audio does not have the bytes asked for.")


def loggable(path: str) -> str:
    """Return a path as it may be logged: without the name of audio, if it holds one."""
    head, audio, _name = path.partition("/audio/")
    return f"{head}{audio}…" if audio else path


@attrs.frozen
class AudioPages:
    """`GET` and `HEAD /audio/<name>.wav`."""

    store: AudioStore

    def blueprint(self) -> Blueprint:
        """Return the routes."""
        routes = Blueprint("audio", __name__)
        routes.get("/audio/<name>.wav")(self.audio)
        return routes

    async def audio(self, name: str) -> ResponseTypes:
        """Send the audio: 200, 206 for one range, 304 if it is not modified, 404, 416 for a range beyond its end."""
        found = await self.store.find(name)
        if found is None:
            return await make_response(_NOT_FOUND, 404, {"Content-Type": "application/json"})
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": f"private, max-age={max(0, math.floor(found.expires_at - self.store.now()))}",
            "Content-Type": "audio/wav",
            "ETag": f'"{found.etag}"',
            "X-Content-Type-Options": "nosniff",
            "X-Robots-Tag": "noindex",
        }
        if not _is_modified(found):
            # The length is that of the audio, as if it were sent (RFC 9110, 8.6).
            return await make_response(b"", 304, headers | {"Content-Length": str(found.size)})
        first, end = _wanted(found)
        if first >= end:
            headers |= {"Content-Range": f"bytes */{found.size}", "Content-Type": "application/json"}
            return await make_response(_NOT_SATISFIABLE, 416, headers)
        headers["Content-Length"] = str(end - first)
        is_whole = (first, end) == (0, found.size)
        if not is_whole:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{found.size}"
        body = _Pieces(self.store, found, end if request.method == "HEAD" else first, end)
        return TrioResponse(body, 200 if is_whole else 206, headers)


@attrs.define(eq=False)
class _Pieces(ResponseBody):
    """The bytes from `position` to before `end`, read when they are sent."""

    store: AudioStore
    found: StoredAudio
    position: int
    end: int

    async def __aenter__(self) -> _Pieces:
        return self

    async def __aexit__(self, *_error: object) -> None:
        return None

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        if self.position >= self.end:
            raise StopAsyncIteration
        try:
            piece = await self.store.read(self.found, self.position, min(PIECE_BYTES, self.end - self.position))
        except (OSError, DatabaseError) as error:
            # Raised, it would be logged with the path that is asked for. The server notices that bytes are missing.
            log.warning("audio_not_sent", error=type(error).__name__, errno=getattr(error, "errno", None))
            piece = b""
        if not piece:
            raise StopAsyncIteration
        self.position += len(piece)
        return piece


def _is_modified(found: StoredAudio, *, is_for_range: bool = False) -> bool:
    """Whether the asker has something else than what we have, by its `If-None-Match`, or by its `If-Range`."""
    return is_resource_modified(
        http_range=request.headers.get("Range"),
        http_if_range=request.headers.get("If-Range"),
        http_if_none_match=None if is_for_range else request.headers.get("If-None-Match"),
        etag=found.etag,
        ignore_if_range=not is_for_range,
    )


def _wanted(found: StoredAudio) -> tuple[int, int]:
    """Return the first byte and the one after the last; the same twice where the range cannot be had.

    Several ranges, and a range that cannot be understood, are answered with the whole, as RFC 9110 (14.2) permits.
    """
    whole = (0, found.size)
    asked: Range | None = request.range
    if request.method != "GET" or asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return whole
    if "If-Range" in request.headers and _is_modified(found, is_for_range=True):
        return whole
    first, end = asked.ranges[0]
    if first < 0:
        return max(0, found.size + first), found.size
    last = found.size if end is None else min(end, found.size)
    return (first, last) if first < last else (0, 0)
