"""`alphaforge refresh`: the venues' clocks and instrument lists."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.opened import environment, prepare_to_ask, warehouse
from alphaforge_assets.cli.screen import count, say
from alphaforge_assets.errors import BadInput, VenueUnavailable

if TYPE_CHECKING:
    from alphaforge_assets.warehouse.listings import Change

CHANGES_SHOWN_MAX = 20


@click.command()
@click.option(
    "--believe",
    multiple=True,
    metavar="VENUE",
    help="Take over the list of this venue although it is less than half of what it was; repeat for others.",
)
def refresh(believe: tuple[str, ...]) -> None:
    """Ask every venue for its clock and instrument list, publish what changed and say what it was."""
    refresh_dimensions(believe)


def refresh_dimensions(believe: Sequence[str] = ()) -> None:
    """Publish the venues' clocks and listings, and say what changed.

    Raises VenueUnavailable naming the venues that did not answer, BadInput for a venue in `believe` that is none.
    """
    from alphaforge_assets.pipeline.dimensions import refresh_listings
    from alphaforge_assets.resources import exchanges_of
    from alphaforge_assets.upkeep.runs import record_command
    from alphaforge_assets.warehouse.origins import refuse_mixing

    settings, universe = environment()
    for venue in believe:
        if venue not in universe.venues:
            raise BadInput(f"--believe {venue!r}: not in the universe, which has {', '.join(universe.venues)}")
    with warehouse(settings) as client:
        refuse_mixing(client, settings.origin)
        prepare_to_ask(settings)
        started_at = dt.datetime.now(dt.UTC)
        changes, errors = refresh_listings(client, exchanges_of(settings), universe, believe)
        said = "; ".join(f"{venue}: {error}" for venue, error in errors.items())
        record_command(client, settings, "refresh", started_at, said)
    for venue, its in changes.items():
        _print_changes(venue, its)
    if errors:
        raise VenueUnavailable(said)


def _print_changes(venue: str, changes: "Sequence[Change]") -> None:
    from alphaforge_assets.pipeline.dimensions import changed_fields

    say(f"{venue}: {count(len(changes))} new or changed instruments")
    new = [c.symbol for c in changes if c.kind == "new"]
    if new:
        more = f" … and {count(len(new) - CHANGES_SHOWN_MAX)} more" if len(new) > CHANGES_SHOWN_MAX else ""
        say(f"  new: {', '.join(new[:CHANGES_SHOWN_MAX])}{more}", soft_wrap=True)
    others = [c for c in changes if c.kind != "new"]
    for change in others[:CHANGES_SHOWN_MAX]:
        say(f"  {change.symbol}: {change.kind}: {changed_fields(change)}", soft_wrap=True)
    if len(others) > CHANGES_SHOWN_MAX:
        say(f"  … and {count(len(others) - CHANGES_SHOWN_MAX)} more: see v_instruments_history")
