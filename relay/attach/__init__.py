"""`relay attach`: a small MCP client that lets any program, Claude or a person be the brain on the telephone.

    relay ──sampling/createMessage──▶ session ─▶ Brain ─▶ a program's pipes │ Anthropic's API │ the keyboard
          ◀─ notifications/progress ─┘    ▲ say(piece), then the whole answer
                                         link: SSE or Streamable HTTP, watched; lost ─▶ connected anew, with back-off

It stands on the other side of the wire: nothing in here imports a part of the daemon, and the daemon imports nothing of
it. Besides being of use, it is the reference of how a client streams an answer, see `session`.
"""
