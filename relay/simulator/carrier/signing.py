"""The carrier's signature over its requests, in the few lines that its documentation describes.

Written here and not taken from the vendor's library, because the product checks signatures with that library: a
simulator that signs with it could never find the two of them wrong. The vectors in the tests pin both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping


def sign(auth_token: str, url: str, fields: Mapping[str, str] | None = None) -> str:
    """Return the `X-Twilio-Signature` of a request: base64 of HMAC-SHA1 over the URL and its form fields.

    The fields are appended by name in byte order, each name followed at once by its value; `url` is taken exactly as
    it is, with its query and without its fragment. An upgrade has no fields and is signed over its `wss://` URL.
    """
    signed = url.partition("#")[0] + "".join(name + value for name, value in sorted((fields or {}).items()))
    return base64.b64encode(hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()).decode()
