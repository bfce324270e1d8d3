-- Missing slots of a period by what explains them.
SELECT verdict, count() AS gaps, uniqExact(instrument_id) AS instruments, toUInt64(sum(slots)) AS missing
FROM
(
    SELECT verdict, instrument_id, round(missing * dateDiff('millisecond', greatest(gap_start, {start:DateTime64(3, 'UTC')}), least(gap_end, {end:DateTime64(3, 'UTC')}))
        / greatest(1, dateDiff('millisecond', gap_start, gap_end))) AS slots
    FROM analytics.v_gaps
    WHERE is_open AND gap_start < {end:DateTime64(3, 'UTC')} AND gap_end > {start:DateTime64(3, 'UTC')}
)
GROUP BY verdict
ORDER BY missing DESC
