"""The daemon: how it starts, serves, drains and stops, and of which parts it is made.

    relay serve ──▶ life_cycle ──▶ credentials, vendors ──▶ wiring: every part, made and put together
                        └─announce─▶ address ◀─find_daemon── the other commands, for what status says

A newcomer reads `life_cycle` first. Nothing that the daemon puts together imports it.
"""
