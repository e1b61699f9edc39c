"""A stream of text cut where sentences end: a token is too little to cost a request, an answer too much to wait for."""

from __future__ import annotations

import re

import attrs

# An end is known to be one only by what follows: "3.14" and "relay.db" go on. Chinese and Japanese leave no space.
# "Dr. Who" is cut in two, which nobody hears: pieces are put together before they are spoken.
_END = re.compile(r"[.!?…:;][\"'”’»)\]]{0,30}\s+|[。！？]|\n+")

# Quotation marks and brackets after a full stop; whoever writes more of them has not ended a sentence.
_LONGEST_END = 40


@attrs.define
class Sentences:
    """The text so far, and how much of it was taken."""

    text: str = ""
    _taken: int = 0
    _looked_at: int = 0

    def feed(self, piece: str) -> str:
        """Add a piece; return the sentences that are complete with it, white space included, or nothing."""
        self.text += piece
        end = max((match.end() for match in _END.finditer(self.text, self._looked_at)), default=self._taken)
        complete = self.text[self._taken : end]
        self._taken = end
        # An end that has begun is looked at again, and nothing before it: a long answer must not be searched anew each
        # time.
        self._looked_at = max(end, len(self.text) - _LONGEST_END)
        return complete if complete.strip() else ""
