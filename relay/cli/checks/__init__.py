"""The doctor: one finding for each thing that must be right before a caller can be answered, and how to fix it.

    settings ─┬─▶ descriptors
              ├─▶ database ───▶ agents ────▶ voices
              ├─▶ public_url ─▶ signature ─▶ upgrade      asked of the running daemon, over its public address
              └─▶ carrier, webhooks, anthropic, elevenlabs    asked of the vendors: is the key good, what is behind it?

A check whose ground is missing, a setting or an earlier check, is skipped with the reason: one fault, one failure.

The daemon is asked from this machine, in the carrier's place and by its protocol; that the carrier's own network
reaches the address as well, only a call can show. What is sent is chosen so that the daemon changes nothing for it: a
report that a made-up call is being set up, and a socket that never becomes a call.

What strangers answer is not repeated, and a secret leaves only as what it is for: a signature, a password, a key.
"""
