-- 1h bars that differ from the 1h made of their 60 minutes. Hours with a minute missing are left to gaps; prices must agree
-- exactly and volume to one part in a million, because sums of doubles do not.
SELECT venue, symbol, '1h' AS interval, min(hour) AS first, max(hour) AS last, count() AS rows, what
FROM
(
    SELECT
        h.venue AS venue, h.symbol AS symbol, h.timestamp AS hour,
        multiIf(h.open != m.open, 'open', h.high != m.high, 'high', h.low != m.low, 'low', h.close != m.close, 'close',
            abs(h.volume - m.volume) > 1e-6 * greatest(h.volume, m.volume), 'volume', '') AS what
    FROM
    (
        SELECT instrument_id, venue, symbol, timestamp, open, high, low, close, volume
        FROM analytics.v_bars
        WHERE instrument_id IN {instruments:Array(UInt32)} AND interval = '1h'
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    ) AS h
    INNER JOIN
    (
        SELECT instrument_id, toDateTime64(toStartOfHour(timestamp), 3, 'UTC') AS hour, uniqExact(toStartOfMinute(timestamp)) AS minutes,
            argMin(bars.open, timestamp) AS open, max(bars.high) AS high, min(bars.low) AS low, argMax(bars.close, timestamp) AS close,
            sum(bars.volume) AS volume
        FROM analytics.v_bars AS bars
        WHERE instrument_id IN {instruments:Array(UInt32)} AND interval = '1m'
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, hour
        HAVING minutes = 60
    ) AS m ON h.instrument_id = m.instrument_id AND h.timestamp = m.hour
)
WHERE what != ''
GROUP BY venue, symbol, what
ORDER BY venue, symbol, what
