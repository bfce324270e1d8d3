"""The environment, read once. No other module looks at it; everything else is told.

What checks a value is loaded when it is checked: venues take half a second, and where the home is, is asked first.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from alphaforge_assets import failpoints
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    from pydantic import SecretStr

    from alphaforge_assets.webhooks import Webhook

# Below this an instrument's day is worth a message: one tenth of its bars missing and unexplained costs ten points,
# nothing but revised bars fifteen.
ALERT_SCORE = 90.0


@dataclass(frozen=True)
class Settings:
    """Where things are. `venues_url` is None for the real venues, else the sandbox's base URL."""

    home: Path
    clickhouse_url: str | None
    venues_url: str | None
    universe_file: Path
    governor_file: Path
    keys: "dict[str, SecretStr]"  # by venue; never needed for public data
    reports: str  # a directory, or s3://bucket/prefix
    s3_endpoint: str | None  # None: the one of AWS
    live_updates: bool = True  # whether the daemon keeps the warehouse up to date by itself
    stream: bool = True  # whether `up` hears the venues' streams, where live updates are on
    alerts: "tuple[Webhook, ...]" = ()  # who is told of trouble; nobody, if empty
    alert_score: float = ALERT_SCORE  # days of a lower quality score are trouble
    raw: Path | None = None  # where what venues said of trades is kept word for word; None: nowhere
    ui_url: str | None = None  # where the Dagster UI is, for links; None if nobody said

    @property
    def origin(self) -> str:
        """Who answers for the venues: `live` or `sandbox`. Every batch carries it."""
        return "sandbox" if self.venues_url else "live"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"


def home_of_environment() -> Path:
    """ALPHAFORGE_HOME."""
    return Path(os.environ.get("ALPHAFORGE_HOME") or ".alphaforge").absolute()


def server_of_environment() -> str | None:
    """CLICKHOUSE_URL, as it was written; None for the embedded warehouse."""
    return os.environ.get("CLICKHOUSE_URL") or None


def settings_from_environment() -> Settings:
    """Read ALPHAFORGE_HOME, CLICKHOUSE_URL, ALPHAFORGE_VENUES, ALPHAFORGE_UNIVERSE, ALPHAFORGE_LIVE, ALPHAFORGE_STREAM,
    ALPHAFORGE_ALERTS, ALPHAFORGE_ALERT_SCORE, ALPHAFORGE_REPORTS, ALPHAFORGE_RAW, ALPHAFORGE_UI, the keys
    (ALPHAFORGE_<VENUE>_KEY), and AWS_ENDPOINT_URL (or AWS_ENDPOINT_URL_S3), which Arrow's S3 client overlooks.
    ALPHAFORGE_FAIL, for tests, goes to failpoints at once.

    Raises BadInput for a malformed value.
    """
    from pydantic import SecretStr

    from alphaforge_assets.universe import DEFAULT_FILE
    from alphaforge_assets.venues.directory import VENUES
    from alphaforge_assets.venues.transport import check_base_url
    from alphaforge_assets.webhooks import read_webhooks

    venues = os.environ.get("ALPHAFORGE_VENUES") or "live"
    if venues != "live":
        try:
            venues = check_base_url(venues)
        except BadInput as error:
            raise BadInput(f"ALPHAFORGE_VENUES is neither `live` nor the base URL of a sandbox: {error}") from error
    failpoints.arm(os.environ.get("ALPHAFORGE_FAIL", ""), is_sandbox=venues != "live")
    live = _switch("ALPHAFORGE_LIVE", "a daemon that fetches only what is asked for")
    stream = _switch("ALPHAFORGE_STREAM", "an `up` that hears no streams")
    # The venues limit an address, not a project: every home of this user draws on the same budgets.
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    keys = {v: os.environ.get(f"ALPHAFORGE_{v.upper()}_KEY", "") for v in VENUES}
    home = home_of_environment()
    raw = os.environ.get("ALPHAFORGE_RAW", "")
    return Settings(
        home=home,
        clickhouse_url=server_of_environment(),
        venues_url=None if venues == "live" else venues,
        universe_file=Path(os.environ.get("ALPHAFORGE_UNIVERSE") or DEFAULT_FILE),
        governor_file=state / "alphaforge" / "governor.sqlite3",
        keys={venue: SecretStr(key) for venue, key in keys.items() if key},
        live_updates=live,
        stream=stream,
        alerts=read_webhooks(os.environ.get("ALPHAFORGE_ALERTS", "")),
        alert_score=_score(os.environ.get("ALPHAFORGE_ALERT_SCORE", "")),
        raw=None if raw == "off" else Path(raw).absolute() if raw else home / "raw",
        ui_url=_address("ALPHAFORGE_UI"),
        reports=os.environ.get("ALPHAFORGE_REPORTS") or str(home / "reports"),
        s3_endpoint=_address("AWS_ENDPOINT_URL_S3") or _address("AWS_ENDPOINT_URL"),
    )


def _switch(name: str, off: str) -> bool:
    """Whether a setting is on, as it is if nobody says. `off` is what it is for."""
    text = os.environ.get(name) or "on"
    if text not in ("on", "off"):
        raise BadInput(f"{name} {text!r}: on, or off for {off}")
    return text == "on"


def _address(name: str) -> str | None:
    """An http(s) address without a user, a password or a query: it is shown in logs and links."""
    text = os.environ.get(name) or ""
    try:
        parts = urlsplit(text)
        is_sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_sound = False
    if text and (not is_sound or "@" in parts.netloc or parts.query or parts.fragment or not text.isprintable()):
        raise BadInput(f"{name} is no address: write http:// or https://, a host and a port, and no user or password")
    return text.rstrip("/") or None


def dagster_home_of_environment() -> str | None:
    """What the environment says to Dagster's own commands; ours are told by ALPHAFORGE_HOME."""
    return os.environ.get("DAGSTER_HOME") or None


def _score(text: str) -> float:
    if not text:
        return ALERT_SCORE
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 100:
        raise BadInput(
            f"ALPHAFORGE_ALERT_SCORE {text!r}: write a number from 0 (never) to 100, such as {ALERT_SCORE:.0f}"
        )
    return score
