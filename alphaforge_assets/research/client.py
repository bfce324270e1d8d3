"""The reader of the warehouse: bars, funding rates, the index and instruments as frames."""

import datetime as dt
import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pandas as pd
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.registry import DATASETS, READABLE
from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import MINUTE, PRICE_TYPES
from alphaforge_assets.research import arguments, completeness, frames, identity, receipts, trades
from alphaforge_assets.research import snapshots as pinned
from alphaforge_assets.research.arguments import Instruments, Moment, Request
from alphaforge_assets.research.hashes import contents
from alphaforge_assets.research.proofs import SnapshotVerification, Verification
from alphaforge_assets.research.reading import again, answer, kept_once, schema_there
from alphaforge_assets.research.receipts import Receipt
from alphaforge_assets.research.snapshots import Snapshot
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import FEAR_GREED, Universe, id_of, instrument_of, load_universe
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import keep_open

AnyFrame: TypeAlias = Any  # pandas.DataFrame, polars.DataFrame or pyarrow.Table, as `frame` says
Kind = Literal["pandas", "polars", "arrow"]
Columns: TypeAlias = str | Iterable[str] | None
Complete: TypeAlias = bool | Literal["explained"]
_OF_SNAPSHOT = {
    "pinned_at": "datetime64[ms, UTC]",
    **dict.fromkeys(("datasets", "instruments", "intervals"), "object"),  # each a tuple
    **dict.fromkeys(("start", "end"), "datetime64[ms, UTC]"),
    "rows": "int64",
}
_EVER = "in the universe, nor was it ever"
_CALLER = 4  # frames between warnings.warn and whoever called a reader


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
    """What researchers read. Made by `connect`.

    All readers of series share these arguments:

    instrument  one key (`okx_perp.BTC-USDT`), a list of keys, or a glob (`binance_*.BTC-USDT`, `*`)
    start, end  [start, end) of the timestamps: ISO strings, dates, datetimes; naive ones mean UTC, and may stand
                beside aware ones
    columns     which columns, in which order; what is not named is not read
    as_of       what was known at that moment: versions published, settlements and listings seen by then
    snapshot    the name of a snapshot: read exactly what was pinned
    frame       "pandas", "polars" or "arrow"
    form        "long": a row a timestamp of each instrument. One key gives the index `timestamp`; a list or a glob,
                even of one, the index (`instrument`, `timestamp`), sorted, so that `frame.loc[key]` is what the key
                alone gives. In polars and Arrow these are the first columns.
                "wide" (pandas): index `timestamp`, columns (`column`, `instrument`), so that `frame.close` is the panel
                of all closes; what an instrument lacks is missing there, and flags are of dtype `boolean`.
    require_complete  True raises CoverageError for any gap, "explained" only for those that nobody has explained;
                otherwise one IncompleteWarning sums them up. Nothing is filled unless `fill` says how.
    adjust      None: prices are as the venue gave them. "redenominations" (bars): before each that the universe names,
                prices are multiplied and amounts divided, up to the newest unit of the same coin; the receipt has how

    Timestamps are datetime64[ms, UTC], ascending; dtypes are the same for an empty result. Every frame carries its
    receipt (`receipts.Receipt`): pandas in `attrs["receipt"]`, Arrow in the schema's metadata, polars by
    `receipt(frame)`. Raises BadInput naming the argument, WarehouseDown, WarehouseRefused.
    """

    client: Client = field(repr=False)
    universe: Universe = field(repr=False)

    def bars(
        self, instrument: Instruments, interval: str, start: Moment, end: Moment, *,
        columns: Columns = None, as_of: Moment | None = None, snapshot: str | None = None,
        frame: Kind = "pandas", form: Literal["long", "wide"] = "long",
        fill: Literal["forward", "null"] | None = None, require_complete: Complete = False,
        adjust: Literal["redenominations"] | None = None,
        price: Literal["trade", "mark", "index", "premium"] = "trade", derived: bool = False,
    ) -> AnyFrame:  # fmt: skip
        """Closed bars with [start, end) of their open times. The arguments are explained at `Research`.

        Columns: open, high, low, close (float64, quote), volume (float64, base), quote_volume (float64), trade_count
        (Int64), taker_buy_base_volume, taker_buy_quote_volume (float64), source (str); on request also contract_volume
        (float64), close_time, ingested_at, published_at (datetime64[ms, UTC]). Bars the venue never had are absent.

        `fill` adds the column is_filled (bool) and a row for each missing bar: "null" leaves it empty, "forward"
        gives it the last close as its prices and no volume, from the first bar of the range on. Never where the
        instrument was not listed or delisted, the bar had not closed, or nobody ever asked. Filled rows do not make a
        range complete.

        `price` "mark", "index" or "premium" (a share of the index): bars of what a perpetual is valued by, of those
        that have `price_bars` in the universe. They have open, high, low, close, source; on request also sample_count
        (Int64), ingested_at, published_at. Nothing is traded at them, so there is no volume.

        `derived`: bars that we make of the venue's 1m, of 5m, 15m, 30m, 1h, 4h or 1d, whatever lengths are kept. They
        also have minutes_expected, minutes_present (Int64), is_complete (bool); on request vwap (float64, quote),
        contract_volume, close_time. A bar is there when it is over and has a minute; complete means that no minute is
        missing, and gaps are of minutes. A snapshot with 1m bars has them of all lengths. They cannot be filled.
        """
        arguments.one_of("fill", fill, (None, "forward", "null"))
        arguments.one_of("adjust", adjust, (None, identity.REDENOMINATIONS), identity.NO_OTHER)
        arguments.one_of("price", price, ("trade", *PRICE_TYPES))
        dataset, series = ("bars", interval) if price == "trade" else ("price_bars", f"{price}_{interval}")
        if derived:
            arguments.one_of("price", price, ("trade",), ": bars of other prices are not derived")
            arguments.one_of("fill", fill, (None,), ": fill the 1m bars, derived ones are made of what there is")
            dataset = "derived_bars"
        request = self._request(dataset, instrument, series, start, end, columns, as_of, snapshot, form, fill, adjust)
        return self._frame(request, frame, require_complete)

    def funding_rates(
        self, instrument: Instruments, start: Moment, end: Moment, *,
        columns: Columns = None, as_of: Moment | None = None, snapshot: str | None = None,
        frame: Kind = "pandas", form: Literal["long", "wide"] = "long", require_complete: Complete = False,
    ) -> AnyFrame:  # fmt: skip
        """Settled funding rates of perpetuals with [start, end) of their settlement times, to the minute.

        Columns: rate_type (str), rate (float64, share of the position's value, longs pay when positive),
        predicted_rate, mark_price (float64, quote), interval_hours (float64, since the settlement before, as
        observed, NaN across a hole), rate_bound (float64), is_out_of_bounds (bool), source (str); on request also
        those of v_funding. What the venue does not say is NaN. A venue that settles twice at one time gives two rows
        of it, with another rate_type.

        Complete means that the venue was asked for every minute of the range, and answered: when it settles is
        observed, never assumed. A glob means the perpetuals that it matches. The arguments are explained at
        `Research`.
        """
        request = self._request("funding_rates", instrument, "", start, end, columns, as_of, snapshot, form, None)
        return self._frame(request, frame, require_complete)

    def fear_greed_index(
        self, start: Moment, end: Moment, *,
        columns: Columns = None, as_of: Moment | None = None, snapshot: str | None = None,
        frame: Kind = "pandas", require_complete: Complete = False,
    ) -> AnyFrame:  # fmt: skip
        """The Fear and Greed Index of the closed days in [start, end), indexed by `timestamp`, the start of the day.

        Columns: value (uint8, 0 extreme fear to 100 extreme greed), classification, source (str). Days the source
        does not have are absent. The arguments are explained at `Research`.
        """
        key = FEAR_GREED.key
        request = self._request("fear_greed_index", key, "1d", start, end, columns, as_of, snapshot, "long", None)
        return self._frame(request, frame, require_complete)

    def trades(
        self, instrument: Instruments, start: Moment, end: Moment, *,
        columns: Columns = None, as_of: Moment | None = None, snapshot: str | None = None,
        require_complete: Complete = False,
    ) -> pa.RecordBatchReader:  # fmt: skip
        """Trades with [start, end) of their times, as Arrow batches that come while they are read: iterate over it, or
        `read_pandas()`, `read_all()` where all of it fits into memory.

        Columns: `instrument` where many were asked for, `timestamp` (us, UTC), trade_id, side (what the taker did),
        price (quote), quantity (base), quote_quantity, source; on request also trade_kind, first_id, last_id,
        trade_uuid, ingest_ts, published_at. In the order of instruments and ids.

        Complete means that the venue answered for every minute of the range, and that no id is missing between two
        trades. The arguments are explained at `Research`.
        """
        request = self._request("trades", instrument, "", start, end, columns, as_of, snapshot, "long", None)
        arguments.one_of("require_complete", require_complete, (True, False, "explained"))
        identity.say(request.what, request.edges, request.start, request.end, None, _CALLER - 1)
        return trades.read(self.client, request, require_complete, _CALLER)

    def liquidations(
        self, instrument: Instruments, start: Moment, end: Moment, *,
        columns: Columns = None, as_of: Moment | None = None, snapshot: str | None = None,
        frame: Kind = "pandas", require_complete: Complete = False,
    ) -> AnyFrame:  # fmt: skip
        """Liquidations that a venue told with [start, end) of their times; several may share one.

        Columns: position_side (long or short: what was closed), order_side (of the order that closed it), price,
        average_price (quote), quantity (base), price_kind (what `price` is), is_sampled (bool), source; on request also
        liquidation_id, filled_quantity, ingested_at, published_at. Sampled ones are the latest of a second at most:
        sums of them are too low, and nobody knows by how much. Complete means that there was a file of each day.
        """
        request = self._request("liquidations", instrument, "", start, end, columns, as_of, snapshot, "long", None)
        return self._frame(request, frame, require_complete)

    def read(
        self, dataset: str, instrument: Instruments, start: Moment, end: Moment, *,
        interval: str = "", columns: Columns = None, as_of: Moment | None = None, snapshot: str | None = None,
        frame: Kind = "pandas", form: Literal["long", "wide"] = "long", require_complete: Complete = False,
    ) -> AnyFrame:  # fmt: skip
        """Any dataset by its name; those above have readers of their own. The arguments are explained at `Research`."""
        framed = tuple(d.name for d in READABLE.values() if not d.id)
        arguments.one_of("dataset", dataset, framed, "; trades() reads trades, in batches")
        request = self._request(dataset, instrument, interval, start, end, columns, as_of, snapshot, form, None)
        return self._frame(request, frame, require_complete)

    def instruments(self, venue: str | None = None, as_of: Moment | None = None) -> pd.DataFrame:
        """What the venues say, or said at `as_of`, of each instrument: one row each, ordered by venue and symbol.

        `venue` is a name or a glob (`binance_*`). Indexed by `instrument` (the key, such as `okx_perp.BTC-USDT`),
        with the columns of v_instruments_history. One that its venue no longer lists is there with status
        `not_listed`; what was not yet observed at `as_of` is not. Raises BadInput naming the argument, WarehouseDown.
        """
        venues = fnmatch.filter(VENUES, venue or "*")
        if not venues:
            raise BadInput(f"venue {venue!r}: use one of {', '.join(VENUES)}")
        now = dt.datetime.now(dt.UTC)
        moment = now if as_of is None else arguments.moment("as_of", as_of)
        if moment > now:
            raise BadInput(f"as_of {as_of} is in the future: what the venues will list then is not known")
        with schema_there():
            found = statements.table(self.client, "reads/instruments_as_of", venues=venues, as_of=moment)
        frame: pd.DataFrame = found.to_pandas(date_as_object=False)
        frame.index = pd.Index(
            frame["venue"] + "." + frame["symbol"].str.replace("/", "-"), name="instrument", dtype="str"
        )
        return frame

    def coverage(
        self, instrument: Instruments = "*", interval: str | None = None,
        start: Moment = arguments.EARLIEST, end: Moment = arguments.LATEST,
    ) -> pd.DataFrame:  # fmt: skip
        """How complete each day of each series was when last computed: the columns of v_coverage, a row a day.

        Raises BadInput naming the argument, WarehouseDown.
        """
        return self._told("reads/coverage_days", instrument, interval, start, end)

    def gaps(
        self, instrument: Instruments = "*", interval: str | None = None,
        start: Moment = arguments.EARLIEST, end: Moment = arguments.LATEST, *, with_filled: bool = False,
    ) -> pd.DataFrame:  # fmt: skip
        """The ledger of gaps that reach into [start, end), with verdict and evidence: the columns of v_gaps.

        Those that healing has filled since only on request. Raises BadInput naming the argument, WarehouseDown.
        """
        return self._told("reads/gaps_between", instrument, interval, start, end, with_filled=with_filled)

    def snapshots(self) -> pd.DataFrame:
        """The snapshots there are, indexed by name: pinned_at, datasets, instruments, intervals, start, end, rows.

        Raises WarehouseDown.
        """
        found = pinned.listed(self.client)
        rows = {name: [getattr(snapshot, name) for snapshot in found] for name in _OF_SNAPSHOT}
        frame = pd.DataFrame(rows, index=pd.Index([snapshot.name for snapshot in found], name="name", dtype="str"))
        return frame.astype(_OF_SNAPSHOT)

    def pin(
        self, name: str, instruments: Instruments, interval: str | Iterable[str], start: Moment, end: Moment,
        datasets: str | Iterable[str] = ("bars",),
    ) -> Snapshot:  # fmt: skip
        """Give what is there now a name under which it stays as it is: `bars(..., snapshot=name)` reads it.

        The range may be wider than the data; the instant of the pin decides what is in it. Pinning the same again
        returns the snapshot there is. Raises BadInput naming the argument, or a name that stands for something else;
        Transient while a publication does not end; WarehouseDown.
        """
        keys, intervals, names = ([x] if isinstance(x, str) else list(x) for x in (instruments, interval, datasets))
        first, last = arguments.span(start, end)
        return pinned.pin(
            self.client,
            name,
            contents(self.universe, keys, intervals, first, last, names, ever=lambda: kept_once(self.client, names)),
        )

    def unpin(self, name: str) -> Snapshot:
        """Take the name off a snapshot, which it returns; the rows stay in history. Raises BadInput, WarehouseDown."""
        return pinned.unpin(self.client, name)

    def diff(self, snapshot: str, other: str | None = None, rows_max: int = pinned.DIFF_ROWS_MAX) -> pd.DataFrame:
        """What is not the same in two snapshots, or in one and what is there now, and which batch changed it.

        The columns are those of `snapshots.diff`. Raises BadInput for a name that is none, WarehouseDown.
        """
        return pinned.diff(self.client, snapshot, other, rows_max)

    def receipt(self, frame: AnyFrame) -> Receipt:
        """The receipt of a frame in any form. Raises BadInput if it carries none."""
        return receipts.receipt_of(frame)

    def verify(self, what: AnyFrame | str | Path) -> "Verification | SnapshotVerification":
        """Prove a frame, a Parquet file, or a snapshot by its name. The answer is true if it holds, and prints why.

        A frame or file is hashed, and the warehouse read as of its receipt's instant again; of a snapshot every row is
        hashed anew. A text that is neither a file nor ends in .parquet is the name of a snapshot.

        What was being published, or derived, at the very moment of a read can show in it and not as of it, or the other
        way round; a read as of an earlier moment, or of a snapshot, has no such moment.
        Raises BadInput for what has no receipt and for a name that is none, WarehouseDown.
        """
        if isinstance(what, str) and not what.endswith(".parquet") and not Path(what).exists():
            snapshot = pinned.find(self.client, what)
            return SnapshotVerification(snapshot, tuple(pinned.verify(self.client, what)))
        table = receipts.read_parquet(what) if isinstance(what, (str, Path)) else what
        receipt = receipts.receipt_of(table)
        frame_hash = receipts.content_hash(frames.to_arrow(table))
        return Verification(receipt, frame_hash, answer(self.client, again(receipt)).receipt.content_hash)

    def _request(
        self, dataset: str, instrument: Instruments, interval: str, start: Moment, end: Moment,
        columns: Columns, as_of: Moment | None, snapshot: str | None, form: str, fill: str | None,
        adjust: str | None = None,
    ) -> Request:  # fmt: skip
        its = READABLE[dataset]
        arguments.one_of("form", form, ("long", "wide"))
        first, last = arguments.span(start, end)
        wanted = arguments.columns(columns, dataset)
        moment = None if as_of is None else arguments.moment("as_of", as_of)
        if snapshot is not None:
            if as_of is not None:
                raise BadInput("as_of and snapshot: give one of them, a snapshot is an instant with a name")
            held = pinned.find(self.client, snapshot)
            moment, known, where = held.pinned_at, held.instruments, f"in snapshot {snapshot!r}"
            pinned.check_covered(held, its, interval, first, last)
        else:
            known, where = self._known([its.ledger], instrument), _EVER
            if its.grid == "interval" and not its.made_of:
                arguments.interval(interval, its.series_of(self.universe.intervals))
        if its.only:
            known = (its.only.key,)
        chosen, is_many = arguments.keys(instrument, known, where)
        having = tuple(i.key for i in its.having([instrument_of(key) for key in chosen]))
        if not having or (isinstance(instrument, list) and having != chosen):
            other = next(key for key in chosen if key not in having)
            raise BadInput(f"instrument {other!r} is not a perpetual and has no {its.what}: use one of a _perp venue")
        chosen = having
        if its.made_of:
            arguments.derivable(interval, chosen, self.universe.intervals if snapshot is None else (MINUTE,))
        elif its.grid == "interval" and snapshot is None:
            arguments.served(chosen, dataset, interval, its.series_of(self.universe.intervals))
        named = [self.universe.by_key[key] for key in chosen if key in self.universe.by_key]
        edges = identity.edges_of(named, first, last, adjust)
        return Request(
            dataset, chosen, is_many, interval, first, last, wanted, moment, snapshot, fill, form, adjust, edges
        )

    def _frame(self, request: Request, kind: Kind, require_complete: Complete) -> AnyFrame:
        arguments.one_of("frame", kind, frames.FRAMES)
        arguments.one_of("require_complete", require_complete, (True, False, "explained"))
        if request.form == "wide" and kind != "pandas":
            raise BadInput(f"form 'wide' is for pandas: use frame='pandas', or pivot the long form in {kind}")
        if kind == "polars":
            frames.polars()
        found = answer(self.client, request)
        completeness.hold(request, found.gaps, require_complete, _CALLER)
        completeness.hold_doubled(request, found.doubled, require_complete, _CALLER)
        identity.say(request.what, request.edges, request.start, request.end, request.adjust, _CALLER)
        if kind == "arrow":
            return receipts.attach(found.table, found.receipt)
        if kind == "polars":
            return receipts.attach(frames.to_polars(found.table), found.receipt)
        is_wide = request.form == "wide"
        return receipts.attach(frames.to_pandas(found.table, wide=is_wide, keys=request.instruments), found.receipt)

    def _known(self, datasets: Iterable[str], asked: Instruments, also: Iterable[str] = ()) -> tuple[str, ...]:
        """Keys of the universe; where they do not have what was asked for by name, also all that was ever kept.

        The universe says what is kept up to date, not what may be read.
        """
        kept = (*(i.key for i in self.universe.instruments), *also)
        patterns = [asked] if isinstance(asked, str) else asked if isinstance(asked, (list, tuple, set)) else []
        if all(isinstance(p, str) and fnmatch.filter(kept, p) for p in patterns):
            return kept
        return tuple(dict.fromkeys((*kept, *(i.key for i in kept_once(self.client, datasets)))))

    def _told(
        self, statement: str, instrument: Instruments, interval: str | None, start: Moment, end: Moment, **more: Any
    ) -> pd.DataFrame:
        alone = [d.only.key for d in DATASETS.values() if d.only]
        chosen, _ = arguments.keys(instrument, self._known(DATASETS, instrument, alone), _EVER)
        if interval is not None:
            arguments.interval(interval, self.universe.intervals)
        first, last = arguments.span(start, end)
        by_id = {id_of(key): key for key in chosen}
        with schema_there():
            found = statements.table(
                self.client, statement, instruments=list(by_id), interval=interval or "", start=first, end=last, **more
            )
        frame: pd.DataFrame = found.to_pandas(date_as_object=False)
        frame.insert(0, "instrument", frame.pop("instrument_id").map(by_id).astype("str"))
        return frame
