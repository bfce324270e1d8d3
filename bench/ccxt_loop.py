"""A peer: the plain loop over ccxt's fetch_ohlcv, written to Parquet. The peers' Python runs it: nothing of ours."""

import json
import sys

import ccxt
import pyarrow as pa
import pyarrow.parquet as pq

MINUTE_MS = 60_000


def main() -> None:
    order = json.loads(sys.argv[1])
    exchange = ccxt.binance({"enableRateLimit": order["limited"], "options": {"fetchMarkets": {"types": ["spot"]}}})
    exchange.urls["api"].update(order["urls"])
    exchange.load_markets()
    since, end = order["start_ms"], order["start_ms"] + order["days"] * 1440 * MINUTE_MS
    rows = []
    while since < end:
        page = exchange.fetch_ohlcv("BTC/USDT", "1m", since=since, limit=1000)
        if not page:
            break
        rows += [row for row in page if row[0] < end]
        since = page[-1][0] + MINUTE_MS
    names = ["timestamp", "open", "high", "low", "close", "volume"]
    pq.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), order["file"], compression="zstd")
    assert len(rows) == order["days"] * 1440, len(rows)


if __name__ == "__main__":
    main()
