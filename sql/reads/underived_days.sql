-- How many days of [start, end) each instrument has whose minutes are not all in derived bars: of buckets of 5m that are over, because
-- a minute that is in none of them is in no longer one either.
SELECT published.instrument_id AS instrument_id, count() AS days
FROM
(
    SELECT instrument_id, toDate(timestamp) AS day, uniqExact(toUInt16(intDiv(toUnixTimestamp64Milli(timestamp), 60000) % 1440)) AS minutes
    FROM analytics.bars_history
    WHERE interval = '1m' AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND timestamp < toStartOfFiveMinutes(now('UTC'))
    GROUP BY instrument_id, day
) AS published
LEFT JOIN
(
    SELECT instrument_id, toDate(timestamp) AS day, sum(minutes_present) AS minutes
    FROM analytics.derived_bars FINAL
    WHERE interval = '5m' AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        AND timestamp < toStartOfFiveMinutes(now('UTC'))
    GROUP BY instrument_id, day
) AS made
ON published.instrument_id = made.instrument_id AND published.day = made.day
WHERE published.minutes != made.minutes
GROUP BY instrument_id
ORDER BY instrument_id
