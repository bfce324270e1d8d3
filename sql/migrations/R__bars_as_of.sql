-- The contract with researchers: columns are only ever added, and are those of v_bars.
-- A version counts from the moment it was published. Two rows of one version are one publication repeated: the earlier
-- one counts, before and after a merge. LIMIT 1 BY along the sort key costs about what FINAL does, argMax six times that.

CREATE OR REPLACE VIEW analytics.bars_as_of
AS SELECT
    venue, symbol, instrument_id, interval, timestamp, toUnixTimestamp64Milli(timestamp) AS timestamp_unix,
    open, high, low, close, volume, quote_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume, source, ingested_at,
    contract_volume, close_time, published_at, batch_id, step_ms
FROM analytics.bars_history
WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
    AND instrument_id IN {instruments:Array(UInt32)} AND interval = {interval:String}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY instrument_id, interval, timestamp, version DESC, published_at
LIMIT 1 BY instrument_id, interval, timestamp
COMMENT 'v_bars as it was at one moment: bars_as_of(as_of, instruments, interval, start, end), the range half-open.';
