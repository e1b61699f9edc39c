"""The MCP side: how an AI client connects, takes turns of calls, and fetches what was left for it.

    GET /sse ──▶ sse ──▶ session ◀── client_responder ◀── the running turn of a call
    POST /messages ──▶ app ──▶ session's inbox ──▶ the SDK's dispatcher ──▶ server ──▶ message_tools, call_tools
    a message was left ──▶ app.announce ──▶ push ──▶ session's outbox ──▶ sse

The transport is our own, made of the SDK's public parts (JSONRPCDispatcher, Connection, serve_connection), for three
reasons that were measured: its writes never wait for a peer that does not read, it serves the handshake era alone (in
the 2026-07-28 era a server cannot ask a client to sample), and it knows when a session is gone.
"""
