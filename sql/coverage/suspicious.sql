-- Outages that look like ours: a venue is not silent for weeks, not every other day, and not by the clock. Whatever has such
-- a pattern is suspicious until it has none: of each series that was judged all outages are held against each other, those
-- of a month and those of all time. What the single silence rests on stays in the evidence, the pattern follows it.
INSERT INTO analytics.gaps
(
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, verdict, evidence, figures, frozen,
    first_seen, last_seen, attempts, next_attempt_at, is_open, version
)
WITH
    silences AS
    (
        SELECT *, toStartOfMonth(gap_start) AS month, toUnixTimestamp64Milli(gap_start) AS from_ms,
            toUnixTimestamp64Milli(gap_end) - from_ms AS length_ms,
            from_ms - lagInFrame(from_ms, 1, 0) OVER (PARTITION BY instrument_id, interval ORDER BY gap_start ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS period_ms,
            if(verdict = 'suspicious', if(JSONExtractFloat(figures, 'no_trades') > 0 OR (length_ms <= 1000 * toInt64({no_trades_s:UInt32}) AND JSONExtractFloat(figures, 'silences_that_day') > 0), 'no_trades', 'venue_outage'), toString(verdict)) AS alone
        FROM analytics.gaps FINAL
        WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND is_open
            AND verdict IN ('venue_outage', 'no_trades', 'suspicious')
    ),
    -- Of each month, and of all time (span 0): what more than half of the silences have in common, and how many there are.
    patterns AS
    (
        SELECT instrument_id AS its_id, interval AS its_interval, arrayJoin([month, toDate(0)]) AS span, if(span > toDate(0), ' in that month', '') AS within,
            count() AS silences, countIf(alone = 'venue_outage') AS outages,
            sumMap([period_ms], [toUInt64(1)]) AS periods, arrayMax(periods.2) AS of_one_period,
            sumMapIf([length_ms], [toUInt64(1)], alone = 'venue_outage' AND length_ms >= 1000 * toInt64({outage_alone_s:UInt32}) AND missing > 2) AS lengths,
            arrayMax(lengths.2) AS of_one_length,
            if(silences >= {pattern_silences:UInt32} AND 2 * of_one_period > silences,
                concat(toString(of_one_period), ' of ', toString(silences), ' silences', within, ' begin ',
                    toString(intDiv(periods.1[indexOf(periods.2, of_one_period)], 60000)), ' minutes after the one before'), '') AS by_period,
            if(of_one_length >= {pattern_lengths:UInt32} AND 2 * of_one_length > outages,
                concat(toString(of_one_length), ' of ', toString(outages), ' silences', within, ' last ',
                    toString(intDiv(lengths.1[indexOf(lengths.2, of_one_length)], 60000)), ' minutes'), '') AS by_length,
            if(span > toDate(0) AND outages > {outages_a_month:UInt32}, concat('one of ', toString(outages), within), '') AS by_number
        FROM silences
        GROUP BY its_id, its_interval, span
    ),
    doubts AS
    (
        SELECT *,
            multiIf(
                alone = 'venue_outage' AND length_ms > 1000 * toInt64({outage_max_s:UInt32}),
                    concat('no venue is silent for ', toString(intDiv(length_ms, 86400000)), ' days'),
                month_period != '', month_period,
                ever_period != '', ever_period,
                alone = 'no_trades', '',
                month_length != '', month_length,
                ever_length != '', ever_length,
                month_number) AS doubt,
            if(doubt = '', alone, 'suspicious') AS said,
            concat(splitByString('; suspicious: ', evidence)[1], if(doubt = '', '', concat('; suspicious: ', doubt))) AS because
        FROM silences
        LEFT JOIN
        (
            SELECT its_id, its_interval, span, by_period AS month_period, by_length AS month_length, by_number AS month_number FROM patterns
        ) AS of_month ON instrument_id = of_month.its_id AND interval = of_month.its_interval AND month = of_month.span
        LEFT JOIN
        (
            SELECT its_id, its_interval, by_period AS ever_period, by_length AS ever_length FROM patterns WHERE span = toDate(0)
        ) AS of_ever ON instrument_id = of_ever.its_id AND interval = of_ever.its_interval
    )
SELECT
    dataset, instrument_id, venue, symbol, interval, gap_start, gap_end, missing, said, because, figures, frozen, first_seen, last_seen, attempts,
    if(doubt = '' OR attempts >= {suspicious_attempts:UInt32}, NULL, ifNull(next_attempt_at, {now:DateTime64(3, 'UTC')})), true,
    greatest(toUInt64(toUnixTimestamp64Milli({now:DateTime64(3, 'UTC')})), version + 1)
FROM doubts
WHERE (said, because) != (toString(verdict), evidence)
