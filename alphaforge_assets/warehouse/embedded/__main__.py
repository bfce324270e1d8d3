"""`python -m alphaforge_assets.warehouse.embedded`: serve one directory."""

import sys
from pathlib import Path

import click

from alphaforge_assets.errors import AlphaForgeError
from alphaforge_assets.warehouse.embedded import process


@click.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), required=True, help="Directory to own.")
@click.option("--port", default=0, show_default=True, help="Port of 127.0.0.1; 0 takes any free one.")
@click.option("--ephemeral", is_flag=True, help="End when nobody uses it any more.")
@click.option("--memory", type=int, help="Bytes the engine may take; half of the machine's by default.")
def main(data: Path, port: int, ephemeral: bool, memory: int | None) -> None:
    """Serve ClickHouse's HTTP interface on 127.0.0.1 out of one directory."""
    try:
        process.serve(data, port, ephemeral, memory)
    except AlphaForgeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
