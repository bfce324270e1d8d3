"""The options that commands share, and what is typed made into days, moments and lists. Raises BadInput."""

import datetime as dt
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import INTERVAL_MS

if TYPE_CHECKING:
    from alphaforge_assets.universe import Universe

F = TypeVar("F", bound=Callable[..., Any])
Callback = Callable[[click.Context, click.Parameter, Any], Any]


def words(context: click.Context, option: click.Parameter, value: str | Sequence[str] | None) -> list[str]:
    """Callback: names separated by commas, of an option given once, often or never. Raises BadInput for none."""
    texts = [value] if isinstance(value, str) else value or ()
    found = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    if texts and not found:
        raise BadInput(f"{option.opts[0]} {','.join(texts)!r}: names nothing")
    return found


def day(context: click.Context, option: click.Parameter, value: str | None) -> dt.date | None:
    """Callback: a day. Stricter than fromisoformat, which knows more forms than people. Raises BadInput."""
    if value is None:
        return None
    try:
        return dt.datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError as error:
        raise BadInput(f"{option.opts[0]} {value!r}: write a day as 2025-05-01") from error


def moment(context: click.Context, option: click.Parameter, value: str | None) -> dt.datetime | None:
    """Callback: a day or a time, UTC unless it says otherwise. Raises BadInput."""
    if value is None:
        return None
    try:
        found = dt.datetime.fromisoformat(value)
    except ValueError as error:
        form = "write a day as 2025-05-01 or a time as 2025-05-01T12:00Z"
        raise BadInput(f"{option.opts[0]} {value!r}: {form}") from error
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)


def machine_readable(more: str = "") -> Callable[[F], F]:
    """--json"""
    return click.option("--json", "as_json", is_flag=True, help=f"Machine-readable{more}.")


def datasets(more: str = ".") -> Callable[[F], F]:
    """--datasets"""
    return click.option("--datasets", default="bars", show_default=True, callback=words, help=f"Comma-separated{more}")


def instruments(more: str, **how: Any) -> Callable[[F], F]:
    """--instruments"""
    return click.option("--instruments", "patterns", multiple=True, callback=words, help=more, **how)


def span(reads: Callback, first: str, end: str, *, required: bool = True) -> Callable[[F], F]:
    """--from and --to, each read by `day` or by `moment`; the arguments say what they are."""
    how: dict[str, Any] = {"required": required, "metavar": "DATE" if reads is day else "TIME", "callback": reads}
    return _together(click.option("--from", "start", help=first, **how), click.option("--to", "end", help=end, **how))


def source() -> Callable[[F], F]:
    """--source"""
    kinds = click.Choice(["best", "archive", "archive_daily", "archive_monthly", "rest"])
    about = "Where rows come from: files of the venue (those of days or months alone), REST, or what is sooner there."
    return click.option("--source", "wish", type=kinds, default="best", show_default=True, help=about)


def port(name: str, default: int, about: str) -> Callable[[F], F]:
    """A port of this machine, where 0 is any free one."""
    kind = click.IntRange(0, 65535)
    return click.option(name, type=kind, default=default, show_default=default > 0 or "any free one", help=about)


def versions(command: Callable[..., None]) -> Callable[..., None]:
    """What says which versions of the rows are meant, to the command as `options`: what `Research.bars` takes."""

    @wraps(command)
    def _with_options(as_of: dt.datetime | None, snapshot: str | None, require_complete: bool, **others: Any) -> None:
        if as_of is not None and snapshot is not None:
            raise BadInput("--as-of and --snapshot both say which versions to read: give one of them")
        options = {"as_of": as_of, "snapshot": snapshot, "require_complete": require_complete or None}
        command(options={name: value for name, value in options.items() if value is not None}, **others)

    at = "What was known at that time, as 2025-05-01T12:00Z."
    return _together(
        click.option("--as-of", metavar="TIME", callback=moment, help=at),
        click.option("--snapshot", metavar="NAME", help="Exactly what was pinned under this name."),
        click.option("--require-complete", is_flag=True, help="Refuse data with gaps, naming them."),
    )(_with_options)


def check_series(option: str, interval: str, universe: "Universe", start: dt.datetime, end: dt.datetime) -> None:
    """Raises BadInput unless bars of `interval` are kept and there is something between start and end."""
    if interval not in INTERVAL_MS:
        raise BadInput(f"{option} {interval!r}: there is {', '.join(INTERVAL_MS)}")
    if interval not in universe.intervals:
        kept = ", ".join(universe.intervals)
        raise BadInput(f"{option} {interval}: the universe keeps {kept}; bars of another length are not fetched")
    check_range(start, end)


def check_range(start: dt.datetime, end: dt.datetime) -> None:
    """Raises BadInput unless there is something between start and end."""
    if end <= start:
        raise BadInput(f"--to {_shown(end)} is not after --from {_shown(start)}: the range is [from, to)")


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _shown(when: dt.datetime) -> str:
    return f"{when:%Y-%m-%d}" if when.time() == dt.time() else when.isoformat()
