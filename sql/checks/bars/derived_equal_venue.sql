-- The venue's own 5m, 15m, 1h, 4h and 1d that differ from ours, made of its minutes. Buckets with a minute missing are left to gaps; prices
-- must agree exactly and volume to one part in a million: the venue rounds.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows, what
FROM
(
    SELECT
        theirs.venue AS venue, theirs.symbol AS symbol, theirs.interval AS interval, theirs.timestamp AS timestamp,
        multiIf(theirs.open != ours.open, 'open', theirs.high != ours.high, 'high', theirs.low != ours.low, 'low',
            theirs.close != ours.close, 'close',
            abs(theirs.volume - ours.volume) > 1e-6 * greatest(theirs.volume, ours.volume), 'volume', '') AS what
    FROM
    (
        SELECT instrument_id, venue, symbol, interval, timestamp, open, high, low, close, volume
        FROM analytics.v_bars
        WHERE instrument_id IN {instruments:Array(UInt32)} AND interval IN ('5m', '15m', '1h', '4h', '1d')
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    ) AS theirs
    INNER JOIN
    (
        SELECT instrument_id, interval, timestamp, open, high, low, close, volume
        FROM analytics.v_derived_bars
        WHERE instrument_id IN {instruments:Array(UInt32)} AND is_complete
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    ) AS ours
    ON theirs.instrument_id = ours.instrument_id AND theirs.interval = ours.interval AND theirs.timestamp = ours.timestamp
)
WHERE what != ''
GROUP BY venue, symbol, interval, what
ORDER BY venue, symbol, interval, what
