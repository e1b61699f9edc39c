"""Everything the carrier speaks: frames, the voice socket, TwiML, signatures, webhooks and its REST API."""
