"""`alphaforge warehouse`: the embedded ClickHouse as a server."""

from pathlib import Path

import click

from alphaforge_assets.cli.arguments import port


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="Directory to own. [ALPHAFORGE_HOME/warehouse]"
)
@port("--port", 0, "Port on 127.0.0.1.")
def warehouse(data: Path | None, port: int) -> None:
    """Serve the embedded ClickHouse over HTTP on loopback until interrupted.

    Not needed for the other commands: they use the running one, or start one for their own duration.
    """
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.warehouse.embedded.process import serve

    serve(data or settings_from_environment().home / "warehouse", port)
