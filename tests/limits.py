"""How long tests wait before they give up, where nothing is measured."""

from __future__ import annotations

HANGING = 60.0
"""Seconds after which what a test waits for hangs. On a busy machine some of it takes ten."""
