"""`relay serve`: the daemon."""

from __future__ import annotations

import click

from relay.cli.printing import example


@click.command(epilog=example("relay serve --local"))
@click.option("--host", metavar="ADDRESS", help="The address to listen on, instead of RELAY_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port, instead of RELAY_PORT; 0 picks a free one.")
@click.option(
    "--local", is_flag=True, help="Run without the carrier: loopback only, with a token for the simulated carrier."
)
def serve(host: str | None, port: int | None, local: bool) -> None:
    """Run the daemon until SIGTERM or SIGINT; a second signal stops it at once."""
    import trio

    from relay import settings as config
    from relay.daemon.life_cycle import serve as run_daemon

    warnings: list[str] = []
    settings = config.load(local=local, warn=warnings.append)
    given = {"relay_host": host, "relay_port": port}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})

    async def run() -> None:
        await run_daemon(settings, local=local, warnings=warnings)

    trio.run(run)
