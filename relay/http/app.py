"""The Quart-Trio app: what is asked and answered in one go. Its routes come as blueprints; its errors look alike.

Nothing lives in here: no background task, no hook of the server's lifespan. A crash in the framework's nursery would
leave a daemon that takes calls and does nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from quart import Blueprint, make_response, request
from quart.typing import ResponseTypes
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from relay.errors import SERVER_ERROR, error_document
from relay.faults import report
from relay.twilio.audio_webhook import loggable
from relay.twilio.ports import AGENT_ID

# The carrier's forms are a few kB.
MAX_BODY_BYTES = 65_536
BODY_SECONDS = 10


class _AgentId(BaseConverter):
    regex = AGENT_ID


def build_app(blueprints: Iterable[Blueprint]) -> QuartTrio:
    """Return the app with these routes; `<agent_id:name>` in a route takes what has the form of an agent's id.

    Errors are JSON documents, except under `/webhooks/`: there the body is empty, because the carrier takes a body for
    an order to carry out.
    """
    app = QuartTrio("relay.twilio", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["BODY_TIMEOUT"] = BODY_SECONDS
    app.url_map.converters["agent_id"] = _AgentId
    # A redirect would lose the carrier's form: so a slash at the end makes no difference, and one within is not found.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    for each in blueprints:
        app.register_blueprint(each)
    app.register_error_handler(HTTPException, _refuse)
    app.register_error_handler(Exception, _fail)
    return app


async def _refuse(error: HTTPException) -> ResponseTypes:
    code = error.name.lower().replace(" ", "_")
    response = await _error(error.code or 500, error_document(code, error.description or error.name))
    if error.code == 405:
        response.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
    return response


async def _fail(error: Exception) -> ResponseTypes:
    report("request_failed", error, method=request.method, path=loggable(request.path))
    return await _error(500, SERVER_ERROR)


async def _error(status: int, document: bytes) -> ResponseTypes:
    to_carrier = request.path.startswith("/webhooks/")
    response = await make_response(b"" if to_carrier else document, status)
    response.content_type = "text/plain" if to_carrier else "application/json"
    return response
