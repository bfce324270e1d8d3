-- Bars whose close is further than outlier_share from the median close of all venues that trade the same base and quote, where
-- at least three have a bar of that moment: of two that differ nobody knows which is wrong.
WITH
    chosen AS
    (
        SELECT symbol, interval
        FROM analytics.bars
        WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY symbol, interval
        HAVING uniqExact(venue) >= 3 AND countIf(instrument_id IN {instruments:Array(UInt32)}) > 0
    )
SELECT b.venue AS venue, b.symbol AS symbol, b.interval AS interval, min(b.timestamp) AS first, max(b.timestamp) AS last, count() AS rows
FROM analytics.v_bars AS b
INNER JOIN
(
    SELECT symbol, interval, timestamp, quantileExact(close) AS median
    FROM analytics.v_bars
    WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND (symbol, interval) IN (SELECT symbol, interval FROM chosen)
    GROUP BY symbol, interval, timestamp
    HAVING uniqExact(venue) >= 3
) AS all_venues ON b.symbol = all_venues.symbol AND b.interval = all_venues.interval AND b.timestamp = all_venues.timestamp
WHERE b.instrument_id IN {instruments:Array(UInt32)} AND (b.symbol, b.interval) IN (SELECT symbol, interval FROM chosen)
    AND b.timestamp >= {start:DateTime64(3, 'UTC')} AND b.timestamp < {end:DateTime64(3, 'UTC')}
    AND abs(b.close / all_venues.median - 1) > {outlier_share:Float64}
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
