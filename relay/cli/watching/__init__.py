"""What `relay top` and `relay tail` share: looking at a daemon from a terminal, through the JSON of its console.

    entrance ──▶ Entrance (address, headers) ──▶ ConsoleApi ──state, state, …──▶ top_screen, call_tail

Each is a process of its own, which may end at any time without a call noticing. Every text that comes from a call goes
through `printing.printable`, and none is taken for markup.
"""
