"""The telephone in the browser: a page that rings an agent, and the socket by which the page is the caller.

    page ──frames──▶ PhoneSocket ─▶ PhoneCall ─▶ SimulatedCall ──signed webhook, signed socket──▶ the daemon's own port

The daemon plays the carrier towards itself, by its real door, so that what is tried here is what callers get. With
`--local` only: a real daemon would show an AI client a caller whom no carrier has checked.
"""
