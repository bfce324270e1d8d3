"""Two coins of one ticker, or one coin in two units, are never one series unsaid; and nothing is changed unasked."""

import datetime as dt
import itertools
import math
import uuid
from typing import Any

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import strategies as st

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.dataset import TIME
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.research import IdentityWarning, Research
from alphaforge_assets.research.identity import Edge, adjusted
from alphaforge_assets.research.receipts import ATTRIBUTE
from alphaforge_assets.universe import Universe

KEY = "okx_spot.X-USDT"
DAYS = "2025-06-01", "2025-06-04"
SPLIT, RELIST = dt.datetime(2025, 6, 2, 12, tzinfo=dt.UTC), dt.datetime(2025, 6, 3, tzinfo=dt.UTC)
VALUES = ["open", "high", "low", "close", "volume", "quote_volume"]


def universe(**identity: Any) -> Universe:
    entry = {"symbol": "X/USDT"} | identity
    return Universe.model_validate(
        {
            "history_start": dt.date(2025, 1, 1),
            "intervals": ["1h"],
            "venues": {"okx_spot": {"instruments": [entry, "Y/USDT"]}},
        }
    )


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    """Three days of hours: at noon of the second a new unit is a thousand old ones, on the third it is another coin."""
    times = [dt.datetime(2025, 6, 1, tzinfo=dt.UTC) + dt.timedelta(hours=n) for n in range(72)]
    level = np.array([0.002 if t < SPLIT else 2.0 if t < RELIST else 0.5 for t in times])
    amount = np.where(level == 0.002, 5_000_000.0, 5_000.0)
    rest = {"quote_volume": level * amount, "taker_buy_base_volume": amount / 2}
    price = {"open": level, "high": level * 1.01, "low": level * 0.99, "close": level * 1.001, "volume": amount}
    return pa.table({"timestamp": pa.array(times, TIME)} | price | rest)


@pytest.fixture
def warehouse_of(emptied: Client, bars: pa.Table) -> Client:
    facts = {"venue": "okx_spot", "symbol": "X/USDT", "interval": "1h", "source": "rest"}
    columns = {name: pa.array([value] * len(bars)) for name, value in facts.items()}
    columns |= {"is_closed": pa.array([True] * len(bars)), "batch_id": pa.array([str(uuid.uuid4())] * len(bars))}
    columns["ingested_at"] = pa.array([dt.datetime(2025, 7, 1, tzinfo=dt.UTC)] * len(bars), TIME)
    emptied.insert_arrow("analytics.landing_bars", pa.table(columns | {n: bars[n] for n in bars.column_names}))
    part = Rectangle(universe().select([KEY]), dt.date(2025, 6, 1), dt.date(2025, 6, 4))
    stage(emptied, part, BARS, ["1h"])
    publish(emptied, part, BARS, ["1h"])
    return emptied


def test_a_range_across_an_edge_says_so_and_is_what_it_was(warehouse_of: Client) -> None:
    plain = Research(warehouse_of, universe()).bars(KEY, "1h", *DAYS)
    assert (plain.attrs[ATTRIBUTE]["adjust"], plain.attrs[ATTRIBUTE]["edges"]) == (None, [])
    research = Research(warehouse_of, universe(redenominated_at={SPLIT: 1000}, relisted_at=RELIST))
    with pytest.warns(IdentityWarning) as said:
        bars = research.bars(KEY, "1h", *DAYS)
    assert [str(w.message) for w in said] == [
        f"bars of {KEY}, 1h: {KEY} from 2025-06-02 12:00 on has another unit: adjust='redenominations' multiplies what"
        f" is before by 1000; {KEY} from 2025-06-03 00:00 on is another coin of the same name: read the two apart"
    ]
    assert said[0].filename == __file__
    receipt = research.receipt(bars)
    assert [(e["what"], e["at"], e["factor"]) for e in receipt.edges] == [
        ("redenominated_at", "2025-06-02T12:00:00.000Z", 1000.0),
        ("relisted_at", "2025-06-03T00:00:00.000Z", None),
    ]
    assert receipt.content_hash == plain.attrs[ATTRIBUTE]["content_hash"]
    assert research.verify(bars)
    for start, end in ((DAYS[0], SPLIT), (SPLIT, RELIST), (RELIST, DAYS[1])):  # on one side of each edge
        assert research.bars(KEY, "1h", start, end).attrs[ATTRIBUTE]["edges"] == []


def test_on_request_what_is_before_is_in_the_newest_unit_of_its_coin(warehouse_of: Client, bars: pa.Table) -> None:
    research = Research(warehouse_of, universe(redenominated_at={SPLIT: 1000}, relisted_at=RELIST))
    with pytest.warns(IdentityWarning, match="another coin"):
        frame = research.bars(KEY, "1h", *DAYS, adjust="redenominations")
    before = np.array([t < SPLIT for t in bars["timestamp"].to_pylist()])
    for name in VALUES:
        by = 1 if name == "quote_volume" else np.where(before, 1 / 1000 if name == "volume" else 1000, 1)
        np.testing.assert_array_equal(frame[name].to_numpy(), bars[name].to_numpy() * by)
    assert (frame["close"] * frame["volume"]).between(1000, 20_000).all()
    receipt = research.receipt(frame)
    assert receipt.adjust == "redenominations"
    assert [e["factor"] for e in receipt.edges] == [1000.0, None]
    # The factors are the receipt's: a universe that says otherwise today changes no proof.
    assert Research(warehouse_of, universe()).verify(frame)
    # An edge after the end counts: the newest unit is the same whatever the range. And what was adjusted needs no word.
    early = research.bars(KEY, "1h", DAYS[0], "2025-06-02", adjust="redenominations")
    np.testing.assert_array_equal(early["open"].to_numpy(), 2.0)
    assert [e["what"] for e in research.receipt(early).edges] == ["redenominated_at", "relisted_at"]
    arrow = research.bars(KEY, "1h", DAYS[0], RELIST, adjust="redenominations", frame="arrow", columns="close")
    assert arrow["close"].to_pylist() == frame["close"].to_list()[:48]


def test_an_edge_that_the_universe_names_is_no_jump(warehouse_of: Client) -> None:
    (rule,) = [c for c in every_check() if c.name == "prices_do_not_jump"]

    def told(**identity: Any) -> list[tuple[dt.datetime, int]]:
        part = Rectangle(universe(**identity).select([KEY]), dt.date(2025, 6, 1), dt.date(2025, 6, 4))
        return [(row["last"], row["rows"]) for row in offenders(warehouse_of, rule, part, dt.datetime.now(dt.UTC))]

    assert told() == [(SPLIT, 1), (RELIST, 1)]
    assert told(redenominated_at={SPLIT: 1000}) == [(RELIST, 1)]
    assert told(redenominated_at={SPLIT: 1000}, relisted_at=[RELIST]) == []
    assert told(redenominated_at={SPLIT - dt.timedelta(hours=2): 1000}, relisted_at=[RELIST]) == [(SPLIT, 1)]


def test_a_name_that_ended_says_under_which_the_coin_goes_on(warehouse_of: Client) -> None:
    research = Research(warehouse_of, universe(delisted_at=RELIST, renamed_to="XNO/USDT"))
    with pytest.warns(IdentityWarning, match=f"{KEY} from 2025-06-03 00:00 on is XNO/USDT"):
        research.bars(KEY, "1h", *DAYS)


def test_a_receipt_of_before_there_were_edges_still_proves_its_frame(warehouse_of: Client) -> None:
    research = Research(warehouse_of, universe())
    frame = research.bars(KEY, "1h", *DAYS)
    for name in ("adjust", "edges"):
        del frame.attrs[ATTRIBUTE][name]
    assert research.verify(frame)


MOMENTS = st.lists(st.integers(0, 40), min_size=0, max_size=6, unique=True).map(sorted)


@hypothesis.given(MOMENTS, st.data())
def test_a_row_is_multiplied_by_every_later_factor_of_its_own_coin(moments: list[int], data: st.DataObject) -> None:
    hour = 3_600_000
    kinds = st.sampled_from([("redenominated_at", 2.0), ("redenominated_at", 0.25), ("relisted_at", None)])
    edges = []
    for m in moments:
        kind, factor = data.draw(kinds)
        edges.append(Edge(KEY, kind, dt.datetime.fromtimestamp(m * 3600, dt.UTC).isoformat(), factor))
    part = pa.table({"timestamp": pa.array([n * hour for n in range(40)]).cast(TIME), "close": np.ones(40)})
    found = adjusted(part, KEY, edges)["close"].to_pylist()
    for n, value in enumerate(found):
        later = (edge.factor for m, edge in zip(moments, edges, strict=True) if m > n)
        assert value == math.prod(itertools.takewhile(lambda factor: factor is not None, later))
