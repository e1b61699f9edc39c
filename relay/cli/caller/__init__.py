"""`relay call`: a person, or a script, is the caller of a running daemon, by way of the simulated carrier.

    keyboard or pipe ─▶ lines ─▶ Caller ─▶ SimulatedCall ══signed webhooks, socket══▶ daemon
    terminal, JSON ◀── report ◀───┘

The one part of the product that uses the simulator, and only the carrier's half of it.
"""
