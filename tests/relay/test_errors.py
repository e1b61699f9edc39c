"""What whoever asked is told of a failure."""

from __future__ import annotations

import json

from relay.errors import error_document


def test_an_error_document_is_what_the_contract_says() -> None:
    """A code for programs and a message for people."""
    assert json.loads(error_document("not_found", "No such page.")) == {
        "error": {"code": "not_found", "message": "No such page."}
    }
