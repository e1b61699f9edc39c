"""How a client is connected: by SSE, over Streamable HTTP, or without a session, and what goes in and out there."""
