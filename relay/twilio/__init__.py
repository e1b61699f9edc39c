"""The carrier's dialect: frames, TwiML, signatures, and a WebSocket as the line to a caller."""
