"""Why there was no answer, in words for the operator."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx2
import pytest

from relay.cli.checks.network import failed_in_tls, json_object, reason


def caused_by(cause: BaseException) -> httpx2.ConnectError:
    """Return the library's error over a cause, which it wraps with an empty text."""
    error = httpx2.ConnectError("")
    error.__cause__ = cause
    return error


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (untrusted(), "its certificate is not trusted (self-signed certificate)"),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "it does not speak TLS, or no version that is safe"),
        (socket.gaierror(-2, "Name or service not known"), "there is no such host"),
        (ExceptionGroup("all attempts", [OSError(errno.ECONNREFUSED, "refused")]), "Connection refused"),
        (ValueError("illegal status line"), "what answers does not speak HTTP"),
    ],
    ids=["certificate", "no TLS", "no host", "several addresses", "no HTTP"],
)
def test_the_cause_is_named(cause: BaseException, words: str) -> None:
    """What lies deepest says what went wrong, not the library's error over it."""
    assert reason(caused_by(cause)) == words


def test_tls_is_distinguished_from_the_network() -> None:
    """A server that was found and whose TLS failed is another matter than one that was not found."""
    assert failed_in_tls(caused_by(untrusted()))
    assert not failed_in_tls(caused_by(socket.gaierror(-2, "")))


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"\xff"], ids=["a page", "a list", "no text"])
def test_what_is_no_object_is_empty(body: bytes) -> None:
    """Only a JSON object is read; anything else holds nothing."""
    assert json_object(httpx2.Response(200, content=body)) == {}
