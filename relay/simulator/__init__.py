"""A simulated carrier: it calls the relay as Twilio would, over real HTTP and real WebSockets, signed by its own code.

    script ─▶ SimulatedCall ─▶ signed webhook ─▶ TwiML ─▶ signed upgrade ─▶ session (setup, prompt, interrupt …)
                   ▲                                                             │
                   └──────── action callback ◀── end, hang-up or failure ◀───────┘

The carrier is part of the product: `relay call` and the phone in the browser ring with it. Load and the stand-in for
Claude serve the scripts and tests of a checkout, and are not in the wheel. Nothing in here imports the product's own
codec, TwiML or signature code: two sides that share a mistake would agree with each other and with no real carrier.
What it knows of the carrier is stated with the place of the fact; where the carrier's behaviour is not documented, the
docstring says so.
"""
