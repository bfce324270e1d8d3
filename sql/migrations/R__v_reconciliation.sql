-- How two sources of bars compare, a day and pair of sources a row. Of each source what it said last of a bar counts.
-- Ask for an instrument and a span of time: it reads landing.

CREATE OR REPLACE VIEW analytics.v_reconciliation
(
    instrument_id UInt32 COMMENT 'Derived from venue and symbol',
    venue LowCardinality(String) COMMENT 'Venue, such as binance_spot',
    symbol LowCardinality(String) COMMENT 'BASE/QUOTE',
    interval LowCardinality(String) COMMENT 'Bar length, such as 1m',
    day Date COMMENT 'UTC day that the bars open in',
    source_a String COMMENT 'One of the two sources that have bars of the day',
    source_b String COMMENT 'The other one, later in the alphabet',
    equal UInt64 COMMENT 'Bars that both have with the same values',
    differing UInt64 COMMENT 'Bars that both have with other values',
    only_a UInt64 COMMENT 'Bars that only source_a has',
    only_b UInt64 COMMENT 'Bars that only source_b has'
)
AS SELECT
    instrument_id, venue, symbol, interval, day, pair.1 AS source_a, pair.2 AS source_b,
    countIf(told[pair.1] = told[pair.2] AND mapContains(told, pair.1) AND mapContains(told, pair.2)) AS equal,
    countIf(told[pair.1] != told[pair.2] AND mapContains(told, pair.1) AND mapContains(told, pair.2)) AS differing,
    countIf(mapContains(told, pair.1) AND NOT mapContains(told, pair.2)) AS only_a,
    countIf(mapContains(told, pair.2) AND NOT mapContains(told, pair.1)) AS only_b
FROM
(
    SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, interval, day,
        arraySort(groupUniqArrayArray(mapKeys(told))) AS sources,
        arrayFilter(p -> p.1 < p.2, arrayFlatten(arrayMap(a -> arrayMap(b -> (a, b), sources), sources))) AS pairs,
        groupArray(told) AS bars
    FROM
    (
        SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, interval, toDate(timestamp) AS day,
            CAST((groupArray(source), groupArray(said)), 'Map(String, UInt64)') AS told
        FROM
        (
            SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, interval, timestamp, toString(source) AS source,
                argMax(cityHash64(tuple(close_time, open, high, low, close, volume, quote_volume, contract_volume, trade_count,
                    taker_buy_base_volume, taker_buy_quote_volume)), ingested_at) AS said
            FROM analytics.landing_bars
            WHERE is_closed
            GROUP BY instrument_id, interval, timestamp, source
            UNION ALL
            SELECT instrument_id, any(venue) AS venue, any(symbol) AS symbol, interval, timestamp, toString(source) AS source,
                argMax(cityHash64(tuple(close_time, open, high, low, close, sample_count)), ingested_at) AS said
            FROM analytics.landing_price_bars
            WHERE is_closed
            GROUP BY instrument_id, interval, timestamp, source
        )
        GROUP BY instrument_id, interval, timestamp
    )
    GROUP BY instrument_id, interval, day
    HAVING length(sources) > 1
)
ARRAY JOIN pairs AS pair
ARRAY JOIN bars AS told
GROUP BY instrument_id, venue, symbol, interval, day, pair
ORDER BY instrument_id, interval, day, source_a, source_b
COMMENT 'Where two sources of bars agree and where not, one row a day and pair of sources: filter by instrument_id and day.';
