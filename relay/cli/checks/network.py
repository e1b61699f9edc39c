"""What went wrong on the way to a server, in the words of the system and not of the libraries in between."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import httpx2

NETWORK_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL)
"""What an HTTP request raises that got no answer."""


def reason(error: BaseException) -> str:
    """Return why there was no answer, as part of a sentence."""
    for each in chain(error):
        match each:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted ({each.verify_message})"
            case ssl.SSLError():
                return "it does not speak TLS, or no version that is safe"
            case socket.gaierror():
                return "there is no such host"
            case OSError(errno=int(number)):
                return os.strerror(number)
            case _:
                pass
    return "what answers does not speak HTTP"


def failed_in_tls(error: BaseException) -> bool:
    """Return whether the server was found, and TLS was what failed."""
    return any(isinstance(each, ssl.SSLError) for each in chain(error))


def is_unknown_host(error: BaseException) -> bool:
    """Return whether the name of the server is unknown."""
    return any(isinstance(each, socket.gaierror) for each in chain(error))


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error to its causes; of a group (such as one error for each address of a host) to all of them."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from chain(each)
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from chain(cause)


def json_object(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON object that a response holds, empty when it holds none."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
