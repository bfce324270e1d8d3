"""The reader of the warehouse: bars, funding rates, the index and instruments as frames."""

import datetime as dt
from dataclasses import dataclass

import pandas as pd
from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import BadInput
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import INTERVAL_MS, VENUES, Universe, load_universe
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import keep_open

Moment = str | dt.date | dt.datetime


def connect(url: str | None = None) -> "Research":
    """A reader of the warehouse: of `url`, else CLICKHOUSE_URL, else the embedded one of ALPHAFORGE_HOME.

    Starts the embedded warehouse if it is not running, for as long as this process lives. Raises BadInput,
    WarehouseDown.
    """
    settings = settings_from_environment()
    universe = load_universe(settings.universe_file)
    return Research(keep_open(settings.home, url or settings.clickhouse_url), universe)


@dataclass(frozen=True)
class Research:
    """What researchers read. Made by `connect`."""

    client: Client
    universe: Universe

    def bars(self, instrument: str, interval: str, start: Moment, end: Moment) -> pd.DataFrame:
        """Closed bars of `instrument` with [start, end) of their open times.

        Returns one row a bar, indexed by `timestamp` (UTC, ascending), with columns open, high, low, close (float64,
        quote), volume (float64, base), quote_volume (float64), trade_count (Int64), taker_buy_base_volume,
        taker_buy_quote_volume (float64), source (str). Bars the venue never had are absent; nothing is filled.

        Strings and naive datetimes mean UTC. Raises BadInput naming the argument, WarehouseDown.
        """
        known = self.universe.instrument(instrument)
        if interval not in INTERVAL_MS:
            raise BadInput(f"interval {interval!r}: use one of {', '.join(INTERVAL_MS)}")
        first, last = _range(start, end)
        found = statements.table(
            self.client, "reads/bars", instrument_id=known.instrument_id, interval=interval, start=first, end=last
        )
        frame: pd.DataFrame = found.to_pandas(date_as_object=False)
        frame["trade_count"] = frame["trade_count"].astype("Int64")
        return frame.set_index("timestamp")

    def fear_greed_index(self, start: Moment, end: Moment) -> pd.DataFrame:
        """The Fear and Greed Index of the closed days in [start, end).

        Returns one row a day, indexed by `timestamp` (UTC, ascending), with columns value (uint8, 0 extreme fear to 100
        extreme greed), classification and source (str). Days the source does not have are absent; nothing is filled.

        Strings and naive datetimes mean UTC. Raises BadInput naming the argument, WarehouseDown.
        """
        first, last = _range(start, end)
        found = statements.table(self.client, "reads/fear_greed_index", start=first, end=last)
        frame: pd.DataFrame = found.to_pandas(date_as_object=False)
        return frame.set_index("timestamp")

    def instruments(self, venue: str | None = None, as_of: Moment | None = None) -> pd.DataFrame:
        """What the venues say, or said at `as_of`, of each instrument: one row each, ordered by venue and symbol.

        Indexed by `instrument` (the key, such as `okx_perp.BTC-USDT`), with the columns of v_instruments_history. One
        that its venue no longer lists is there with status `not_listed`; what was not yet observed at `as_of` is not.

        Strings and naive datetimes mean UTC. Raises BadInput naming the argument, WarehouseDown.
        """
        if venue is not None and venue not in VENUES:
            raise BadInput(f"venue {venue!r}: use one of {', '.join(VENUES)}")
        moment = dt.datetime.now(dt.UTC) if as_of is None else _utc("as_of", as_of)
        venues = [] if venue is None else [venue]
        found = statements.table(self.client, "reads/instruments_as_of", venues=venues, as_of=moment)
        frame: pd.DataFrame = found.to_pandas(date_as_object=False)
        frame.index = pd.Index(frame["venue"] + "." + frame["symbol"].str.replace("/", "-"), name="instrument")
        return frame

    def funding_rates(self, instrument: str, start: Moment, end: Moment) -> pd.DataFrame:
        """Settled funding rates of the perpetual `instrument` with [start, end) of their settlement times.

        Returns one row a settlement, indexed by `timestamp` (UTC, ascending, to the minute), with columns rate_type
        (str), rate (float64, share of the position's value, longs pay when positive), predicted_rate, mark_price
        (float64, quote), interval_hours (float64, since the settlement before, as observed), rate_bound (float64),
        is_out_of_bounds (bool), source (str). What the venue does not say is NaN. A venue that settles twice at one
        time gives two rows of it, with another rate_type.

        Strings and naive datetimes mean UTC. Raises BadInput naming the argument, WarehouseDown.
        """
        known = self.universe.instrument(instrument)
        if not known.is_perpetual:
            raise BadInput(f"instrument {instrument!r} is not a perpetual and has no funding: use one of a _perp venue")
        first, last = _range(start, end)
        found = statements.table(
            self.client, "reads/funding_rates", instrument_id=known.instrument_id, start=first, end=last
        )
        frame: pd.DataFrame = found.to_pandas(date_as_object=False)
        frame["is_out_of_bounds"] = frame["is_out_of_bounds"].astype(bool)  # Arrow has it as a number
        return frame.set_index("timestamp")


def _range(start: Moment, end: Moment) -> tuple[dt.datetime, dt.datetime]:
    first, last = _utc("start", start), _utc("end", end)
    if last <= first:
        raise BadInput(f"end {end} is not after start {start}: the range is [start, end)")
    return first, last


def _utc(name: str, moment: Moment) -> dt.datetime:
    try:
        stamp = pd.Timestamp(moment)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{name} {moment!r}: write a date or time such as 2025-05-01 or 2025-05-01T12:00Z") from error
    if pd.isna(stamp):
        raise BadInput(f"{name} is empty: write a date or time such as 2025-05-01")
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    return stamp.to_pydatetime()
