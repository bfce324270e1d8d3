-- Which days of a period have been looked at.
SELECT DISTINCT day FROM analytics.v_coverage
WHERE day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
ORDER BY day
