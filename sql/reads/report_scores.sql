-- Quality score of each day over all series: mean and worst, and which series was worst.
SELECT day, round(avg(score), 2) AS mean, min(score) AS worst, count() AS series,
    argMin(concat(venue, '.', replaceOne(symbol, '/', '-'), ' ', interval), score) AS worst_series
FROM analytics.v_coverage
WHERE day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
GROUP BY day
ORDER BY day
