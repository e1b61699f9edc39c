"""flake8-async, as its own command, in half the time: all rules look at one tree, whose positions are found once.

It runs its rules one after another, and each may rewrite the tree for the next one (`--autofix`); so each gets a new
one, and where each node of that stands in the file is found anew. That is most of what it does. Here nothing is
rewritten, so that all rules can have the tree that was read. Besides, it makes millions of small objects that reference
counting frees: a fifth of its time went into looking for cycles.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

import libcst
from flake8_async import main  # type: ignore[import-untyped]

if any(each.startswith("--autofix") for each in sys.argv):
    sys.exit("This one rewrites nothing: use flake8-async itself.")

_Wrapper: Any = libcst.MetadataWrapper


class _OneTree(_Wrapper):  # type: ignore[misc]
    """A tree with what is known of its nodes, that stays the same whatever a rule makes of it."""

    def visit(self, visitor: Any) -> _OneTree:
        """Have a rule look at it; return it for the next one."""
        super().visit(visitor)
        return self


def _of(module: Any, **options: Any) -> _OneTree:
    return module if isinstance(module, _OneTree) else _OneTree(module, **options)


libcst.MetadataWrapper = _of  # type: ignore[assignment,misc]
gc.disable()
sys.exit(main())
