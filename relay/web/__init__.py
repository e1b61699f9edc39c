"""The web side: one ASGI gateway, the Quart-Trio app behind it, and the raw handler of the voice socket."""
