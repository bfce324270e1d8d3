-- Published minutes -> bars of 5m to 1d: those whose values differ from what the table has, all lengths at once. Minutes are never
-- taken back, so a bucket that is there stays. What is compared is all but when it was made, so that a rerun adds nothing.
INSERT INTO analytics.derived_bars
SELECT made.* EXCEPT content, known.times + 1 AS version
FROM
(
    SELECT *, cityHash64(tuple(* EXCEPT (source, batch_id, ingested_at, published_at))) AS content
    FROM
    (
        SELECT
            instrument_id, venue, symbol, interval, timestamp, close_time, open_e8, high_e8, low_e8, close_e8, volume_e8, quote_volume_e8,
            contract_volume_e8, trade_count, taker_buy_base_volume_e8, taker_buy_quote_volume_e8, minutes_present, source, batch_id,
            ingested_at, published_at
        FROM analytics.derived_bars_as_of(
            as_of = '2100-01-01 00:00:00.000', instruments = {instruments:Array(UInt32)},
            intervals = ['5m', '15m', '30m', '1h', '4h', '1d'],
            start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
    )
) AS made
LEFT JOIN
(
    SELECT
        instrument_id, interval, timestamp, max(version) AS times,
        argMax(cityHash64(tuple(* EXCEPT (source, batch_id, ingested_at, published_at, version))), version) AS content
    FROM analytics.derived_bars
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, interval, timestamp
) AS known
ON made.instrument_id = known.instrument_id AND made.interval = known.interval AND made.timestamp = known.timestamp
WHERE made.content != known.content
SETTINGS optimize_on_insert = 0
