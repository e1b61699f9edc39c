"""How a failure looks to whoever asked: an error document. What goes into the log about it is `relay.faults.report`."""

from __future__ import annotations

import json


def error_document(code: str, message: str) -> bytes:
    """Return the JSON of an error; `code` is a snake_case word, `message` says what is wrong and what to do."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


SERVER_ERROR = error_document("server_error", "Something failed here. Try again; the log of the relay says where.")
