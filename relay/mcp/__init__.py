"""The MCP side: how an AI client connects, takes turns of calls, and fetches what was left for it.

    GET /sse ──▶ sse ─────────────┐
    GET /mcp ──▶ http_session ────┴▶ session ◀── ClientResponder ◀── the running turn of a call
    POST /messages ──▶ app ───────┬▶ session's inbox ──▶ the SDK's dispatcher ──▶ server ──▶ the tools
    POST /mcp ──▶ streamable ─────┤  (of 2026-07-28: stateless ──▶ server)
                                  └▶ plain_calls ──▶ the tools
    a message was left ──▶ app.announce ──▶ notifications ──▶ session's outbox ──▶ sse, http_session
    the running turn of a call ──▶ TurnQueue ◀── tools.turns: a client that fetches utterances, and brings answers

Both transports are our own, made of the SDK's public parts (JSONRPCDispatcher, Connection, serve_connection), for three
reasons that were measured: their writes never wait for a peer that does not read, a client that can sample is kept in
the handshake era (in the 2026-07-28 era a server cannot ask it to), and they know when a stream is gone. Only the
2026-07-28 revision, where each request stands alone, is served by the SDK's.
"""
