-- The figures of a whole period in one row.
SELECT uniqExact(instrument_id) AS instruments, uniqExact(venue) AS venues, uniqExact(day) AS days, count() AS series_days,
    sum(expected) AS expected, sum(present) AS present, sum(missing) AS missing, sum(explained) AS explained,
    sum(rejected) AS rejected, sum(revised) AS revised, sum(frozen) AS frozen, sum(off_grid) AS off_grid,
    round(avg(score), 2) AS score_mean, min(score) AS score_min, countIf(NOT is_settled) AS unsettled
FROM analytics.v_coverage
WHERE day >= toDate({start:DateTime64(3, 'UTC')}) AND day < toDate({end:DateTime64(3, 'UTC')})
