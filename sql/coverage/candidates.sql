-- What is missing of bars in or at the edge of [start, end), as ranges of the grid, each as long as it really is and cut where
-- its cause may change: where answers, failures and rejected rows begin and end, and at the listing dates. A bar off the grid fills the slot it opens in.
-- Presence does not depend on versions, so the table is read without FINAL. Of the ledger, which is long, only [reach_from,
-- reach_until) is read: from the last bar before the range to the first one after it no gap reaches farther.
INSERT INTO analytics.gap_candidates
(
    judgement, dataset, instrument_id, venue, symbol, interval, step_ms, gap_start, gap_end, answered, first_bar, last_bar,
    listed_at, delisted_at, asked_from, found_at
)
SELECT
    {judgement:UUID}, {dataset:String}, instrument_id, venue, symbol, interval, step_ms,
    fromUnixTimestamp64Milli(piece.1 * step_ms, 'UTC') AS gap_start,
    fromUnixTimestamp64Milli(piece.2 * step_ms, 'UTC') AS gap_end,
    arrayExists(w -> w.1 <= piece.1 AND w.2 >= piece.2, answered_slots) AS answered,
    if(bars_ever = 0, NULL, fromUnixTimestamp64Milli(first_slot * step_ms, 'UTC')) AS first_bar,
    if(bars_ever = 0, NULL, fromUnixTimestamp64Milli(last_slot * step_ms, 'UTC')) AS last_bar,
    listed_at, delisted_at, asked_from, now64(3, 'UTC')
FROM
(
    SELECT *, arrayJoin(arrayZip(arrayPopBack(points), arrayPopFront(points))) AS piece
    FROM
    (
        SELECT
            *, arrayJoin(arrayFilter(h -> h.2 > h.1, arrayMap((a, b) -> (a + 1, b), arrayPopBack(edges), arrayPopFront(edges)))) AS hole,
            arrayConcat([hole.1], arrayFilter(c -> c > hole.1 AND c < hole.2, cuts), [hole.2]) AS points
        FROM
        (
            SELECT
                a.instrument_id AS instrument_id, a.venue AS venue, a.symbol AS symbol, a.interval AS interval, a.step_ms AS step_ms,
                a.asked_from AS asked_from, a.listed_at AS listed_at, a.delisted_at AS delisted_at,
                p.bars_ever AS bars_ever, p.first_slot AS first_slot, p.last_slot AS last_slot,
                arrayMap(w -> (intDiv(w.1, a.step_ms), intDiv(w.2, a.step_ms)), w.windows) AS answered_slots,
                intDiv(toUnixTimestamp64Milli(a.asked_from), a.step_ms) AS from_slot,
                intDiv(toUnixTimestamp64Milli(a.expected_until), a.step_ms) AS until_slot,
                arrayConcat(
                    [if(p.bars_before > 0 AND p.last_before >= from_slot, p.last_before, from_slot - 1)],
                    arrayFilter(s -> s >= from_slot, p.slots),
                    [if(p.bars_after > 0, p.first_after, greatest(until_slot, if(p.bars_ever > 0, p.last_slot + 1, 0)))]
                ) AS edges,
                arraySort(arrayDistinct(arrayConcat(
                    arrayMap(w -> w.1, answered_slots), arrayMap(w -> w.2, answered_slots),
                    arrayFilter(m -> NOT arrayExists(w -> w.1 < m AND w.2 > m, answered_slots), arrayMap(m -> intDiv(m, a.step_ms), f.edges)),
                    [intDiv(toUnixTimestamp64Milli(ifNull(a.listed_at, a.asked_from)), a.step_ms),
                        intDiv(toUnixTimestamp64Milli(ifNull(a.delisted_at, a.asked_from)) + a.step_ms - 1, a.step_ms),
                        intDiv(transform(a.instrument_id, {instruments:Array(UInt32)}, {wanted_from_ms:Array(Int64)}, toInt64(0)), a.step_ms),
                        intDiv(transform(a.instrument_id, {instruments:Array(UInt32)}, {wanted_until_ms:Array(Int64)}, toInt64(0)), a.step_ms)],
                    -- Where rejected slots that touch begin, and where they end.
                    arrayFilter((s, d) -> d != 1, r.slots, arrayDifference(r.slots)),
                    arrayFilter((s, d) -> d != 1, arrayMap(s -> s + 1, r.slots), arrayResize(arrayPopFront(arrayDifference(r.slots)), length(r.slots)))
                ))) AS cuts
            FROM analytics.asked_spans(
                dataset = {dataset:String}, instruments = {instruments:Array(UInt32)}, now = {now:DateTime64(3, 'UTC')},
                grace_s = {grace_s:UInt32}, never_asked_s = {never_asked_s:UInt32}) AS a
            LEFT JOIN
            (
                SELECT instrument_id, interval,
                    groupArray((toUnixTimestamp64Milli(answered_from), toUnixTimestamp64Milli(answered_until))) AS windows
                FROM analytics.answered_windows(
                    dataset = {dataset:String}, instruments = {instruments:Array(UInt32)},
                    start = {reach_from:DateTime64(3, 'UTC')}, end = {reach_until:DateTime64(3, 'UTC')})
                GROUP BY instrument_id, interval
            ) AS w ON a.instrument_id = w.instrument_id AND a.interval = w.interval
            LEFT JOIN
            (
                SELECT
                    instrument_id, interval, count() AS bars_ever, min(slot) AS first_slot, max(slot) AS last_slot,
                    countIf(timestamp < {start:DateTime64(3, 'UTC')}) AS bars_before,
                    maxIf(slot, timestamp < {start:DateTime64(3, 'UTC')}) AS last_before,
                    countIf(timestamp >= {end:DateTime64(3, 'UTC')}) AS bars_after,
                    minIf(slot, timestamp >= {end:DateTime64(3, 'UTC')}) AS first_after,
                    arraySort(groupArrayIf(slot, timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')})) AS slots
                FROM
                (
                    SELECT instrument_id, interval, timestamp,
                        intDiv(toUnixTimestamp64Milli(timestamp), there.step_ms) AS slot
                    FROM {database:Identifier}.{current:Identifier} AS there
                    WHERE instrument_id IN {instruments:Array(UInt32)}
                )
                GROUP BY instrument_id, interval
            ) AS p ON a.instrument_id = p.instrument_id AND a.interval = p.interval
            LEFT JOIN
            (
                -- Where spans that were asked for in vain begin and end, as few as possible: nobody asked for what is beside them.
                SELECT instrument_id, interval, groupArrayArray([from_ms, until_ms]) AS edges
                FROM
                (
                    SELECT instrument_id, interval, min(from_ms) AS from_ms, max(until_ms) AS until_ms
                    FROM
                    (
                        SELECT instrument_id, interval, from_ms, until_ms,
                            sum(opens) OVER (PARTITION BY instrument_id, interval ORDER BY from_ms, until_ms) AS island
                        FROM
                        (
                            SELECT instrument_id, interval,
                                toUnixTimestamp64Milli(window_start) AS from_ms, toUnixTimestamp64Milli(window_end) AS until_ms,
                                from_ms > max(until_ms) OVER (PARTITION BY instrument_id, interval ORDER BY from_ms, until_ms
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS opens
                            FROM analytics.ingest_batches
                            WHERE dataset = {dataset:String} AND status = 'failed' AND instrument_id IN {instruments:Array(UInt32)}
                                AND window_start < {reach_until:DateTime64(3, 'UTC')} AND window_end > {reach_from:DateTime64(3, 'UTC')}
                        )
                    )
                    GROUP BY instrument_id, interval, island
                )
                GROUP BY instrument_id, interval
            ) AS f ON a.instrument_id = f.instrument_id AND a.interval = f.interval
            LEFT JOIN
            (
                SELECT instrument_id, interval, arraySort(groupUniqArray(toInt64(intDiv(toUnixTimestamp64Milli(timestamp), rejected_rows.step_ms)))) AS slots
                FROM analytics.rejected_rows
                WHERE dataset = {dataset:String} AND instrument_id IN {instruments:Array(UInt32)} AND rejected_rows.step_ms > 0
                    AND timestamp >= {reach_from:DateTime64(3, 'UTC')} AND timestamp < {reach_until:DateTime64(3, 'UTC')}
                GROUP BY instrument_id, interval
            ) AS r ON a.instrument_id = r.instrument_id AND a.interval = r.interval
            WHERE a.step_ms > 0
        )
    )
)
WHERE piece.2 > piece.1 AND gap_start <= {end:DateTime64(3, 'UTC')} AND gap_end >= {start:DateTime64(3, 'UTC')}
