-- Bars of a period that were published in more than one version: each change with the values before and after it.
SELECT
    'bars' AS dataset, concat(venue, '.', replaceOne(symbol, '/', '-')) AS instrument, interval, timestamp,
    change.1.2 AS published_at, change.2.2 AS revised_at, change.1.3 AS before, change.2.3 AS after, change.2.4 AS batch_id,
    count() OVER () AS total
FROM
(
    SELECT venue, symbol, interval, timestamp, arrayJoin(arrayZip(arrayPopBack(versions), arrayPopFront(versions))) AS change
    FROM
    (
        SELECT any(venue) AS venue, any(symbol) AS symbol, interval, timestamp,
            arraySort(x -> x.1, groupArray((
                version, published_at,
                map('open', open, 'high', high, 'low', low, 'close', close, 'volume', volume, 'quote_volume', quote_volume,
                    'trade_count', toFloat64(trade_count), 'taker_buy_base_volume', taker_buy_base_volume,
                    'taker_buy_quote_volume', taker_buy_quote_volume),
                toString(batch_id)))) AS versions
        FROM analytics.bars_history FINAL
        WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND (instrument_id, interval, timestamp) IN
            (
                SELECT instrument_id, interval, timestamp
                FROM analytics.bars_history
                WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
                GROUP BY instrument_id, interval, timestamp
                HAVING min(version) != max(version)
            )
        GROUP BY instrument_id, interval, timestamp
    )
)
ORDER BY venue, symbol, interval, timestamp, revised_at
LIMIT {rows_max:UInt32}
