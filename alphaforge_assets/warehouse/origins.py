"""Where what a warehouse holds comes from: the venues themselves, or the sandbox."""

from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import Permanent
from alphaforge_assets.warehouse import statements


def refuse_mixing(client: Client, origin: str) -> None:
    """A warehouse is fed by the real venues or by the sandbox, never by both: emulated prices must not pass for real.

    Raises Permanent naming what the warehouse holds.
    """
    others = [row["origin"] for row in statements.rows(client, "reads/origins") if row["origin"] != origin]
    if others:
        back = "the sandbox's address, which `alphaforge up` prints" if others[0] == "sandbox" else others[0]
        raise Permanent(
            f"this warehouse holds {others[0]} data and the venues are now {origin}: set ALPHAFORGE_HOME (or"
            f" CLICKHOUSE_URL) to another warehouse, or ALPHAFORGE_VENUES to {back}"
        )
