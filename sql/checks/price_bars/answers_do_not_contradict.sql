-- Bars that one answer told twice, with different values. Both are kept in landing, and the venue was asked for the bar alone again:
-- what it said then is published if it said one thing. Read in the order of the key, so that it costs no memory.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows,
    concat('batch ', toString(batch_id), ' closes at ', arrayStringConcat(arrayMap(c -> toString(c), any(closes)), ' and ')) AS what
FROM
(
    SELECT any(venue) AS venue, any(symbol) AS symbol, interval, timestamp, batch_id, arraySort(groupUniqArray(ifNull(toString(close), 'NULL'))) AS closes
    FROM analytics.landing_price_bars
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND (instrument_id, interval, timestamp) IN
        (
            SELECT instrument_id, interval, timestamp
            FROM analytics.landing_price_bars
            WHERE instrument_id IN {instruments:Array(UInt32)}
                AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            GROUP BY instrument_id, interval, timestamp
            HAVING count() > uniqExact(batch_id)
        )
    GROUP BY instrument_id, interval, timestamp, batch_id
    HAVING uniqExact(cityHash64(tuple(close_time, open, high, low, close, sample_count, is_closed, metadata))) > 1
)
GROUP BY venue, symbol, interval, batch_id
ORDER BY venue, symbol, interval, first
SETTINGS optimize_aggregation_in_order = 1
