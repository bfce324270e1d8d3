-- The venues' own rows of their instruments, the latest of each.
SELECT venue, symbol, argMax(info, valid_from) AS info
FROM analytics.instruments
WHERE venue IN {venues:Array(String)}
GROUP BY venue, symbol
