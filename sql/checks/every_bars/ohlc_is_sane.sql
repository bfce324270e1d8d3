-- Published bars whose high is not the highest or whose low is not the lowest price.
SELECT venue, symbol, interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM {database:Identifier}.{current:Identifier} FINAL
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND (high < greatest(open, close, low) OR low > least(open, close, high))
GROUP BY venue, symbol, interval
ORDER BY venue, symbol, interval
