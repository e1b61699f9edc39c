"""Groups of commands: help texts whole, what goes wrong in a sentence, and no module loaded before its command is used.

relay ──LazyGroup──▶ "agents" ──import relay.cli.agents──▶ HelpGroup ──▶ "add"
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click

from relay.cli.one_line import in_one_line


class HelpGroup(click.Group):
    """A group whose help has the first sentence of each command whole, on several lines if need be."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands. The library would cut each summary at 45 characters or so."""
        rows = [(name, self.summary(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def summary(self, ctx: click.Context, name: str) -> str:
        """Return the first sentence of a command's help."""
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(limit=1000)


class LazyCommand(NamedTuple):
    """Where a command is, and its summary, which must be the one in its own help."""

    module: str
    summary: str


class LazyGroup(HelpGroup):
    """The outermost group: its commands are imported when they are used.

    A command ends with exit code 1 and one sentence when the relay refuses something, and in a line on Ctrl-C. In
    `relay.cli.<module>` it has the name that it has on the command line.
    """

    def __init__(self, *arguments: Any, lazy: Mapping[str, LazyCommand], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of all commands, in the order of the alphabet."""
        return sorted({*self._lazy, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        command = getattr(importlib.import_module(self._lazy[cmd_name].module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def summary(self, ctx: click.Context, name: str) -> str:
        """Return a command's summary without importing it."""
        return self._lazy[name].summary if name in self._lazy else super().summary(ctx, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An unexpected error keeps its traceback: it is a bug."""
        with in_one_line():
            return super().invoke(ctx)
