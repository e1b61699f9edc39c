"""Load: many simulated calls and clients at once, the daemon they are thrown at, and what is reported of it."""
