"""The vendor's library reaches the carrier, or another origin, over an HTTP client that runs under Trio."""

from __future__ import annotations

import httpx2
import pytest

from relay.twilio.http_client import TrioHttpClient

URL = "https://api.twilio.com/2010-04-01/Accounts/AC1/Calls.json"


def answering(status: int, text: str, seen: list[httpx2.Request]) -> httpx2.AsyncClient:
    """Return an HTTP client whose requests are all answered the same."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(status, text=text)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


async def test_a_request_goes_where_the_library_says() -> None:
    """Without another origin the vendor's own is asked, with its credentials."""
    seen: list[httpx2.Request] = []
    async with answering(200, "{}", seen) as http:
        await TrioHttpClient(http).request("get", URL, params={"To": "+1555"}, auth=("AC1", "secret"))
    assert seen[0].method == "GET"
    assert str(seen[0].url) == URL + "?To=%2B1555"
    assert seen[0].headers["authorization"].startswith("Basic ")


async def test_another_origin_takes_the_place_of_the_vendors() -> None:
    """Path and query stay what they are."""
    seen: list[httpx2.Request] = []
    async with answering(200, "{}", seen) as http:
        await TrioHttpClient(http, base_url="http://127.0.0.1:9000").request("GET", URL + "?Page=1")
    assert str(seen[0].url) == "http://127.0.0.1:9000/2010-04-01/Accounts/AC1/Calls.json?Page=1"


async def test_a_list_becomes_a_repeated_field() -> None:
    """That is how the API takes several values, such as events."""
    seen: list[httpx2.Request] = []
    async with answering(201, "{}", seen) as http:
        await TrioHttpClient(http).request("POST", URL, data={"Event": ["ringing", "answered"], "To": "+1555"})
    assert seen[0].content == b"Event=ringing&Event=answered&To=%2B1555"


async def test_an_error_status_is_an_answer() -> None:
    """The library reads what the body says; that it is no JSON is its affair."""
    async with answering(503, "upstream", []) as http:
        response = await TrioHttpClient(http).request("GET", URL)
    assert (response.status_code, response.text, response.ok) == (503, "upstream", False)


@pytest.mark.parametrize("text", ["", "<html/>", "[]", "null", "{"])
async def test_a_success_that_is_no_json_object_is_none(text: str) -> None:
    """A proxy's page with status 200 is not taken for an answer of the carrier's."""
    async with answering(200, text, []) as http:
        with pytest.raises(httpx2.DecodingError):
            await TrioHttpClient(http).request("GET", URL)


async def test_a_time_limit_of_the_requests_own() -> None:
    """The library may give a limit with a request, which counts instead of the client's."""
    seen: list[httpx2.Request] = []
    async with answering(200, "{}", seen) as http:
        await TrioHttpClient(http).request("GET", URL, timeout=1.5)
    assert seen[0].extensions["timeout"]["read"] == 1.5
