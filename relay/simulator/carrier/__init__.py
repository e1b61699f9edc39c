"""The simulated carrier: it rings, listens, dials and checks, with frames, signatures and TwiML of its own."""
