"""What a check of health says: a finding, and the worst of many."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from alphaforge_assets.errors import AlphaForgeError

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `to_do` is empty where there is nothing to do; a `note` troubles nothing yet."""

    name: str
    state: State
    what: str
    to_do: str = ""


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(finding.state != "wrong" for finding in findings)


def looked(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a check finds; that it could not look is a finding as well."""
    try:
        yield from check()
    except (AlphaForgeError, OSError) as error:
        yield Finding(name, "wrong", f"could not be looked at: {error}", "mend that, and look again")
