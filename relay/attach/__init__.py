"""`relay attach`: a small MCP client that lets any program, Claude or a person be the brain on the telephone.

    relay ──sampling/createMessage──▶ session ─▶ Brain ─▶ a program's pipes │ Anthropic's API │ the keyboard
          ◀─ notifications/progress ─┘    ▲ say(piece), then the whole answer
                                         link: SSE or Streamable HTTP, watched; lost ─▶ connected anew, with back-off

It is a client: nothing here imports a part of the daemon, and the daemon imports nothing of it. It is also the
reference of how a client streams an answer, see `client_session`.
"""
