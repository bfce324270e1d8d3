-- Runs of bars without any trade: zero volume and one price, frozen_run or more in a row. They are bars, but they carry no news.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM
(
    SELECT *, row_number() OVER (PARTITION BY venue, symbol, interval ORDER BY timestamp)
        - row_number() OVER (PARTITION BY venue, symbol, interval, frozen ORDER BY timestamp) AS run
    FROM
    (
        SELECT venue, symbol, interval, timestamp, volume = 0 AND open = high AND high = low AND low = close AS frozen
        FROM analytics.v_bars
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
)
WHERE frozen
GROUP BY venue, symbol, interval, run
HAVING rows >= {frozen_run:UInt32}
ORDER BY venue, symbol, interval, first
