-- The one place where minutes become longer bars: the table is made of it too. What they were at one moment follows from what
-- the minutes were, so derived bars need no history. A bucket is there when it is over and has a minute. Minutes become 5m first
-- and those the longer ones, which costs a third of making each of the minutes.
-- Sums do not depend on the order of rows: of packed numbers they are of integers, of others (a volume past 90 million) sorted.
-- Aggregates are of plain numbers: of texts, tuples and what may be NULL each costs as much as all the others together. So names come by
-- instrument, a missing close time is -1, what some minute does not say is a bit, and the order of publication one number.

CREATE OR REPLACE VIEW analytics.derived_bars_as_of
AS WITH
    number -> if(number >= 0 AND number < 9007199254740992, number / 100000000, reinterpretAsFloat64(number)) AS unpacked,
    number -> if(reinterpretAsUInt64(toInt64(round(if(number >= 0 AND number < 90071992, number, 0) * 100000000)) / 100000000) = reinterpretAsUInt64(number), toInt64(round(if(number >= 0 AND number < 90071992, number, 0) * 100000000)), reinterpretAsInt64(number)) AS packed,
    number -> ifNull(number >= 0 AND number < 9007199254740992, true) AS is_whole,
    number -> if(is_whole(number), toUInt64(ifNull(number, 0)), 0) AS whole,
    number -> if(is_whole(number), 0., unpacked(ifNull(number, 0))) AS other,
    (moment, opened) -> bitShiftLeft(toUInt128(toUnixTimestamp64Milli(moment)), 64) + toUInt128(opened) AS by_publication
SELECT
    bucket.instrument_id AS instrument_id, named.venue AS venue, named.symbol AS symbol, bucket.bar AS interval,
    fromUnixTimestamp64Milli(bucket.starts, 'UTC') AS timestamp,
    if(bucket.closed < 0, NULL, fromUnixTimestamp64Milli(bucket.closed, 'UTC')) AS close_time,
    bucket.first_e8 AS open_e8, packed(bucket.top) AS high_e8, packed(bucket.bottom) AS low_e8, bucket.last_e8 AS close_e8,
    packed(bucket.volume_whole / 100000000 + arraySum(arraySort(arrayMap(o -> o.1, bucket.others)))) AS volume_e8,
    if(bitTest(bucket.lacks, 1), NULL, packed(bucket.quote_volume_whole / 100000000 + arraySum(arraySort(arrayMap(o -> o.2, bucket.others))))) AS quote_volume_e8,
    if(bitTest(bucket.lacks, 2), NULL, packed(bucket.contract_volume_whole / 100000000 + arraySum(arraySort(arrayMap(o -> o.3, bucket.others))))) AS contract_volume_e8,
    if(bitTest(bucket.lacks, 5), NULL, bucket.trades) AS trade_count,
    if(bitTest(bucket.lacks, 3), NULL, packed(bucket.taker_buy_base_volume_whole / 100000000 + arraySum(arraySort(arrayMap(o -> o.4, bucket.others))))) AS taker_buy_base_volume_e8,
    if(bitTest(bucket.lacks, 4), NULL, packed(bucket.taker_buy_quote_volume_whole / 100000000 + arraySum(arraySort(arrayMap(o -> o.5, bucket.others))))) AS taker_buy_quote_volume_e8,
    toUInt16(bucket.present) AS minutes_present,
    'derived' AS source, bucket.batch AS batch_id, bucket.came AS ingested_at, bucket.seen AS published_at
FROM
(
    SELECT
        five.instrument_id AS instrument_id, bar, step, intDiv(five.opened, step) * step AS starts,
        argMin(five.first_e8, five.opened) AS first_e8, argMax(five.last_e8, five.opened) AS last_e8,
        max(five.top) AS top, min(five.bottom) AS bottom, argMax(five.closed, five.opened) AS closed, max(five.last_opens) AS last_opens,
        sum(five.volume_whole) AS volume_whole, sum(five.quote_volume_whole) AS quote_volume_whole, sum(five.contract_volume_whole) AS contract_volume_whole,
        sum(five.taker_buy_base_volume_whole) AS taker_buy_base_volume_whole, sum(five.taker_buy_quote_volume_whole) AS taker_buy_quote_volume_whole,
        sum(five.trades) AS trades, groupBitOr(five.lacks) AS lacks, groupArrayArray(five.others) AS others, sum(five.present) AS present,
        argMax(five.batch, by_publication(five.seen, five.opened)) AS batch, max(five.came) AS came, max(five.seen) AS seen
    FROM
    (
        SELECT
            m.instrument_id AS instrument_id, intDiv(toUnixTimestamp64Milli(m.opens), 300000) * 300000 AS opened,
            argMin(m.open_e8, m.opens) AS first_e8, argMax(m.close_e8, m.opens) AS last_e8,
            max(unpacked(m.high_e8)) AS top, min(unpacked(m.low_e8)) AS bottom,
            argMax(ifNull(toUnixTimestamp64Milli(m.close_time), -1), m.opens) AS closed, max(toUnixTimestamp64Milli(m.opens)) AS last_opens,
            sum(whole(m.volume_e8)) AS volume_whole, sum(whole(m.quote_volume_e8)) AS quote_volume_whole,
            sum(whole(m.contract_volume_e8)) AS contract_volume_whole,
            sum(whole(m.taker_buy_base_volume_e8)) AS taker_buy_base_volume_whole, sum(whole(m.taker_buy_quote_volume_e8)) AS taker_buy_quote_volume_whole,
            sum(ifNull(m.trade_count, 0)) AS trades,
            groupBitOr(toUInt8(
                bitShiftLeft(m.quote_volume_e8 IS NULL, 1) + bitShiftLeft(m.contract_volume_e8 IS NULL, 2)
                + bitShiftLeft(m.taker_buy_base_volume_e8 IS NULL, 3) + bitShiftLeft(m.taker_buy_quote_volume_e8 IS NULL, 4)
                + bitShiftLeft(m.trade_count IS NULL, 5))) AS lacks,
            groupArrayIf(
                (other(m.volume_e8), other(m.quote_volume_e8), other(m.contract_volume_e8), other(m.taker_buy_base_volume_e8), other(m.taker_buy_quote_volume_e8)),
                NOT (is_whole(m.volume_e8) AND is_whole(m.quote_volume_e8) AND is_whole(m.contract_volume_e8) AND is_whole(m.taker_buy_base_volume_e8) AND is_whole(m.taker_buy_quote_volume_e8))) AS others,
            -- How many of its five minutes there are: one that opened late counts as the minute it opened in.
            bitCount(groupBitOr(toUInt8(bitShiftLeft(1, intDiv(toUnixTimestamp64Milli(m.opens), 60000) % 5)))) AS present,
            argMax(m.batch_id, by_publication(m.published_at, toUnixTimestamp64Milli(m.opens))) AS batch,
            max(m.ingested_at) AS came, max(m.published_at) AS seen
        FROM
        (
            SELECT * EXCEPT timestamp, timestamp AS opens
            FROM analytics.bars_history
            -- Whole seconds beside milliseconds: the server leaves out what is in the last second before a bound that is a DateTime.
            WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
                AND instrument_id IN {instruments:Array(UInt32)} AND interval = '1m'
                AND timestamp >= toStartOfDay({start:DateTime64(3, 'UTC')})
                AND timestamp < toDateTime64(toStartOfDay({end:DateTime64(3, 'UTC')} - INTERVAL 1 MILLISECOND) + INTERVAL 1 DAY, 3, 'UTC')
            ORDER BY instrument_id, interval, timestamp, version DESC, published_at
            LIMIT 1 BY instrument_id, interval, timestamp
        ) AS m
        GROUP BY instrument_id, opened
    ) AS five
    ARRAY JOIN
        {intervals:Array(String)} AS bar,
        arrayMap(i -> transform(i, ['5m', '15m', '30m', '1h', '4h', '1d'], [300000, 900000, 1800000, 3600000, 14400000, 86400000], 0), {intervals:Array(String)}) AS step
    GROUP BY instrument_id, bar, step, starts
) AS bucket
INNER JOIN
(
    SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol
    FROM analytics.bars_history
    WHERE instrument_id IN {instruments:Array(UInt32)} AND interval = '1m'
        AND timestamp >= toStartOfDay({start:DateTime64(3, 'UTC')})
        AND timestamp < toDateTime64(toStartOfDay({end:DateTime64(3, 'UTC')} - INTERVAL 1 MILLISECOND) + INTERVAL 1 DAY, 3, 'UTC')
    GROUP BY instrument_id
) AS named ON bucket.instrument_id = named.instrument_id
WHERE bucket.starts >= toUnixTimestamp64Milli({start:DateTime64(3, 'UTC')}) AND bucket.starts < toUnixTimestamp64Milli({end:DateTime64(3, 'UTC')})
    AND bucket.starts + bucket.step
        <= greatest(least(toUnixTimestamp64Milli({as_of:DateTime64(3, 'UTC')}), toUnixTimestamp64Milli(now64(3, 'UTC'))), intDiv(bucket.last_opens, 60000) * 60000 + 60000)
COMMENT 'derived_bars as they were at one moment: derived_bars_as_of(as_of, instruments, intervals, start, end), the range half-open.';
