"""What `relay top` and `relay tail` share: a daemon in a terminal, through the JSON of its console.

    entrance ──▶ Entrance (address, headers) ──▶ ConsoleApi ──state, state, …──▶ top_screen, call_screen, call_tail
                                                            ◀──act── action_form ◀── call_screen, action_dialogs

Each is a process of its own, which may end at any time without a call noticing. Every text that comes from a call goes
through `printing.printable`, and none is taken for markup.
"""
