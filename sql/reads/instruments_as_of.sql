-- What the given venues listed at a moment; no venues means all of them.
SELECT *
FROM analytics.instruments_as_of(as_of = {as_of:DateTime64(3, 'UTC')})
WHERE empty({venues:Array(String)}) OR venue IN {venues:Array(String)}
ORDER BY venue, symbol
