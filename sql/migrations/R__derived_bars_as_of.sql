-- The one place where minutes become longer bars: the table is made of it too. What they were at one moment follows from what
-- the minutes were, so derived bars need no history. A bucket is there when it is over and has a minute. Minutes become 5m first
-- and those the longer ones, which costs a third of making each of the minutes.
-- Sums do not depend on the order of rows: of packed numbers they are of integers, of others (a volume past 90 million) sorted.

CREATE OR REPLACE VIEW analytics.derived_bars_as_of
AS WITH
    number -> if(number >= 0 AND number < 9007199254740992, number / 100000000, reinterpretAsFloat64(number)) AS unpacked,
    number -> if(reinterpretAsUInt64(toInt64(round(if(number >= 0 AND number < 90071992, number, 0) * 100000000)) / 100000000) = reinterpretAsUInt64(number), toInt64(round(if(number >= 0 AND number < 90071992, number, 0) * 100000000)), reinterpretAsInt64(number)) AS packed,
    number -> number >= 0 AND number < 9007199254740992 AS is_packed
SELECT
    instrument_id, any(five.venue) AS venue, any(five.symbol) AS symbol, bar AS interval,
    fromUnixTimestamp64Milli(intDiv(five.opened, step) * step, 'UTC') AS timestamp,
    argMax(five.closed, five.opened).1 AS close_time,
    argMin(five.first_e8, five.opened) AS open_e8, argMax(five.top_e8, unpacked(five.top_e8)) AS high_e8,
    argMin(five.bottom_e8, unpacked(five.bottom_e8)) AS low_e8, argMax(five.last_e8, five.opened) AS close_e8,
    packed(sum(five.volume_whole) / 100000000 + arraySum(arraySort(groupArrayArray(five.volume_other)))) AS volume_e8,
    if(sum(five.quote_volume_lacking) = 0, packed(sum(five.quote_volume_whole) / 100000000 + arraySum(arraySort(groupArrayArray(five.quote_volume_other)))), NULL) AS quote_volume_e8,
    if(sum(five.contract_volume_lacking) = 0, packed(sum(five.contract_volume_whole) / 100000000 + arraySum(arraySort(groupArrayArray(five.contract_volume_other)))), NULL) AS contract_volume_e8,
    if(sum(five.trades_lacking) = 0, sum(five.trades), NULL) AS trade_count,
    if(sum(five.taker_buy_base_volume_lacking) = 0, packed(sum(five.taker_buy_base_volume_whole) / 100000000 + arraySum(arraySort(groupArrayArray(five.taker_buy_base_volume_other)))), NULL) AS taker_buy_base_volume_e8,
    if(sum(five.taker_buy_quote_volume_lacking) = 0, packed(sum(five.taker_buy_quote_volume_whole) / 100000000 + arraySum(arraySort(groupArrayArray(five.taker_buy_quote_volume_other)))), NULL) AS taker_buy_quote_volume_e8,
    toUInt16(sum(five.present)) AS minutes_present,
    'derived' AS source, argMax(five.batch.1, (five.batch.2, five.opened)) AS batch_id, max(five.came) AS ingested_at, max(five.batch.2) AS published_at
FROM
(
    SELECT
        instrument_id, intDiv(toUnixTimestamp64Milli(m.opens), 300000) * 300000 AS opened, any(m.venue) AS venue, any(m.symbol) AS symbol,
        argMax(tuple(m.close_time), m.opens) AS closed, max(m.opens) AS last_opens,
        argMin(m.open_e8, m.opens) AS first_e8, argMax(m.high_e8, unpacked(m.high_e8)) AS top_e8,
        argMin(m.low_e8, unpacked(m.low_e8)) AS bottom_e8, argMax(m.close_e8, m.opens) AS last_e8,
        sumIf(toUInt64(m.volume_e8), is_packed(m.volume_e8)) AS volume_whole,
        groupArrayIf(unpacked(m.volume_e8), NOT is_packed(m.volume_e8)) AS volume_other,
        sumIf(toUInt64(assumeNotNull(m.quote_volume_e8)), is_packed(assumeNotNull(m.quote_volume_e8))) AS quote_volume_whole,
        groupArrayIf(unpacked(assumeNotNull(m.quote_volume_e8)), NOT is_packed(assumeNotNull(m.quote_volume_e8)) AND m.quote_volume_e8 IS NOT NULL) AS quote_volume_other,
        countIf(m.quote_volume_e8 IS NULL) AS quote_volume_lacking,
        sumIf(toUInt64(assumeNotNull(m.contract_volume_e8)), is_packed(assumeNotNull(m.contract_volume_e8))) AS contract_volume_whole,
        groupArrayIf(unpacked(assumeNotNull(m.contract_volume_e8)), NOT is_packed(assumeNotNull(m.contract_volume_e8)) AND m.contract_volume_e8 IS NOT NULL) AS contract_volume_other,
        countIf(m.contract_volume_e8 IS NULL) AS contract_volume_lacking,
        sumIf(toUInt64(assumeNotNull(m.taker_buy_base_volume_e8)), is_packed(assumeNotNull(m.taker_buy_base_volume_e8))) AS taker_buy_base_volume_whole,
        groupArrayIf(unpacked(assumeNotNull(m.taker_buy_base_volume_e8)), NOT is_packed(assumeNotNull(m.taker_buy_base_volume_e8)) AND m.taker_buy_base_volume_e8 IS NOT NULL) AS taker_buy_base_volume_other,
        countIf(m.taker_buy_base_volume_e8 IS NULL) AS taker_buy_base_volume_lacking,
        sumIf(toUInt64(assumeNotNull(m.taker_buy_quote_volume_e8)), is_packed(assumeNotNull(m.taker_buy_quote_volume_e8))) AS taker_buy_quote_volume_whole,
        groupArrayIf(unpacked(assumeNotNull(m.taker_buy_quote_volume_e8)), NOT is_packed(assumeNotNull(m.taker_buy_quote_volume_e8)) AND m.taker_buy_quote_volume_e8 IS NOT NULL) AS taker_buy_quote_volume_other,
        countIf(m.taker_buy_quote_volume_e8 IS NULL) AS taker_buy_quote_volume_lacking,
        sum(assumeNotNull(m.trade_count)) AS trades, countIf(m.trade_count IS NULL) AS trades_lacking,
        -- How many of its five minutes there are: one that opened late counts as the minute it opened in.
        bitCount(groupBitOr(toUInt8(bitShiftLeft(1, intDiv(toUnixTimestamp64Milli(m.opens), 60000) % 5)))) AS present,
        argMax((m.batch_id, m.published_at), (m.published_at, m.opens)) AS batch, max(m.ingested_at) AS came
    FROM
    (
        SELECT * EXCEPT timestamp, timestamp AS opens
        FROM analytics.bars_history
        WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
            AND instrument_id IN {instruments:Array(UInt32)} AND interval = '1m'
            AND timestamp >= toStartOfDay({start:DateTime64(3, 'UTC')})
            AND timestamp < toStartOfDay({end:DateTime64(3, 'UTC')} - INTERVAL 1 MILLISECOND) + INTERVAL 1 DAY
        ORDER BY instrument_id, interval, timestamp, version DESC, published_at
        LIMIT 1 BY instrument_id, interval, timestamp
    ) AS m
    GROUP BY instrument_id, opened
) AS five
ARRAY JOIN
    {intervals:Array(String)} AS bar,
    arrayMap(i -> transform(i, ['5m', '15m', '30m', '1h', '4h', '1d'], [300000, 900000, 1800000, 3600000, 14400000, 86400000], 0), {intervals:Array(String)}) AS step
GROUP BY instrument_id, bar, step, timestamp
HAVING timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND toUnixTimestamp64Milli(timestamp) + step
        <= greatest(least(toUnixTimestamp64Milli({as_of:DateTime64(3, 'UTC')}), toUnixTimestamp64Milli(now64(3, 'UTC'))), intDiv(toUnixTimestamp64Milli(max(five.last_opens)), 60000) * 60000 + 60000)
COMMENT 'derived_bars as they were at one moment: derived_bars_as_of(as_of, instruments, intervals, start, end), the range half-open.';
