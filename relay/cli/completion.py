"""`relay completion`: what a shell needs to complete the command line."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from relay.cli.printing import example

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=example(
        'eval "$(relay completion bash)"                      # in ~/.bashrc',
        'eval "$(relay completion zsh)"                       # in ~/.zshrc',
        "relay completion fish > ~/.config/fish/completions/relay.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands and options in a shell."""
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(context.find_root().command, {}, "relay", "_RELAY_COMPLETE").source())
