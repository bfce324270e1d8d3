-- Per instrument and day: how complete it is over all its intervals, its worst score, and what the missing slots are, the most grave verdict first.
SELECT
    c.dataset AS dataset, c.venue AS venue, c.symbol AS symbol, c.instrument_id AS instrument_id, c.day AS day,
    sum(c.expected) AS expected, sum(c.present) AS present, sum(c.missing) AS missing, sum(c.explained) AS explained,
    sum(c.rejected) AS rejected, sum(c.revised) AS revised, sum(c.off_grid) AS off_grid, sum(c.frozen) AS frozen,
    min(c.score) AS score, min(c.is_settled) AS is_settled, any(v.verdicts) AS verdicts
FROM analytics.v_coverage AS c
LEFT JOIN
(
    SELECT dataset, instrument_id, day, arraySort(
        x -> (NOT has({unexplained:Array(String)}, x.1), -x.2), groupArray((CAST(verdict AS String), slots))) AS verdicts
    FROM
    (
        SELECT dataset, instrument_id, verdict, day, round(sum(slots)) AS slots
        FROM
        (
            SELECT dataset, instrument_id, verdict, missing, gap_start, gap_end,
                toDate(arrayJoin(range(
                    toUInt32(toDate(greatest(gap_start, {start:DateTime64(3, 'UTC')}))),
                    toUInt32(toDate(least(gap_end, {end:DateTime64(3, 'UTC')}) - toIntervalMillisecond(1))) + 1))) AS day,
                missing * dateDiff('millisecond', greatest(gap_start, toDateTime64(day, 3, 'UTC')), least(gap_end, toDateTime64(day + 1, 3, 'UTC')))
                    / greatest(1, dateDiff('millisecond', gap_start, gap_end)) AS slots
            FROM analytics.v_gaps
            WHERE is_open AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
        )
        GROUP BY dataset, instrument_id, verdict, day
    )
    GROUP BY dataset, instrument_id, day
) AS v ON c.dataset = v.dataset AND c.instrument_id = v.instrument_id AND c.day = v.day
WHERE c.day >= toDate({start:DateTime64(3, 'UTC')}) AND c.day < toDate({end:DateTime64(3, 'UTC')})
GROUP BY dataset, venue, symbol, instrument_id, day
ORDER BY dataset, venue, symbol, day
