"""The vendor's library on an HTTP client that runs under Trio.

    twilio.rest.Client ─▶ TrioHttpClient.request ─▶ httpx2 ─▶ the carrier's REST API, or another origin

The library's own asynchronous client is built on aiohttp, which needs asyncio, and it drops its time limit on the way;
the synchronous one in a thread cannot be cancelled. The library asks for no more than one method, so here it is. It
never calls the base class's logging, which would write out every URL and with it telephone numbers.

Source: `twilio.http` of version 9.13, read and tried under Trio.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
from twilio.http import AsyncHttpClient  # type: ignore[import-untyped]
from twilio.http.response import Response  # type: ignore[import-untyped]


class TrioHttpClient(AsyncHttpClient):  # type: ignore[misc]
    """Send the library's requests over an `httpx2.AsyncClient`, which its owner closes and which has a time limit.

    `base_url` is an origin (`http://127.0.0.1:9000`) that takes the place of every origin of the vendor's: the library
    itself can only vary names below twilio.com.
    """

    def __init__(self, client: httpx2.AsyncClient, *, base_url: str | None = None) -> None:
        super().__init__(logging.getLogger("twilio.http_client"), is_async=True)
        self._client = client
        self._origin = urlsplit(base_url) if base_url else None

    async def request(  # noqa: PLR0917 - the library's signature
        self,
        method: str,
        uri: str,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """Make a request; a list in `data` becomes a repeated field. Redirects are not followed unless asked for.

        `timeout` is in seconds and overrides the client's. An error status is an answer. Raises `httpx2.HTTPError`,
        also for a success that is no JSON object: the library would stumble over it with whatever error comes first.
        """
        if self._origin:
            uri = urlsplit(uri)._replace(scheme=self._origin.scheme, netloc=self._origin.netloc).geturl()
        limit = httpx2.USE_CLIENT_DEFAULT if timeout is None else timeout
        response = await self._client.request(
            method.upper(),
            uri,
            params=params or None,
            data=data,
            headers=headers,
            auth=auth,
            timeout=limit,
            follow_redirects=allow_redirects,
        )
        if not response.is_error and not _is_object(response.text):
            raise httpx2.DecodingError("the answer is no JSON object", request=response.request)
        return Response(response.status_code, response.text, response.headers)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
