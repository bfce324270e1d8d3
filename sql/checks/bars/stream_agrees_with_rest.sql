-- 1m bars whose stream told something else than REST did later, or before: of each what it said last. REST's is published, the
-- stream's stays in landing. What one of them leaves out is no difference, and sums may differ by their rounding. Minutes of
-- REST that no stream told are not read.
SELECT venue, symbol, '1m' AS interval, min(timestamp) AS first, max(timestamp) AS last, count() AS rows,
    concat('the stream and REST differ in ', arrayStringConcat(arraySort(groupUniqArrayArray(differing)), ', ')) AS what
FROM
(
    SELECT venue, symbol, timestamp, arrayFilter(name -> name != '', [
        if(ws.1 != rest.1, 'open', ''), if(ws.2 != rest.2, 'high', ''), if(ws.3 != rest.3, 'low', ''), if(ws.4 != rest.4, 'close', ''),
        if(abs(ws.5 - rest.5) > 1e-6 * greatest(ws.5, rest.5), 'volume', ''),
        if(abs(ws.6 - rest.6) > 1e-6 * greatest(ws.6, rest.6), 'quote_volume', ''),
        if(abs(ws.7 - rest.7) > 1e-6 * greatest(ws.7, rest.7), 'contract_volume', ''),
        if(ws.8 != rest.8, 'trade_count', ''),
        if(abs(ws.9 - rest.9) > 1e-6 * greatest(ws.9, rest.9), 'taker_buy_base_volume', ''),
        if(abs(ws.10 - rest.10) > 1e-6 * greatest(ws.10, rest.10), 'taker_buy_quote_volume', '')]) AS differing
    FROM
    (
        SELECT any(venue) AS venue, any(symbol) AS symbol, timestamp,
            argMaxIf(tuple(open, high, low, close, volume, quote_volume, contract_volume, trade_count, taker_buy_base_volume,
                taker_buy_quote_volume), ingested_at, source = 'ws') AS ws,
            argMaxIf(tuple(open, high, low, close, volume, quote_volume, contract_volume, trade_count, taker_buy_base_volume,
                taker_buy_quote_volume), ingested_at, source = 'rest') AS rest
        FROM analytics.landing_bars
        WHERE instrument_id IN {instruments:Array(UInt32)} AND interval = '1m'
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND is_closed AND source IN ('ws', 'rest')
            AND (instrument_id, timestamp) IN
            (
                SELECT instrument_id, timestamp
                FROM analytics.landing_bars
                WHERE source = 'ws' AND instrument_id IN {instruments:Array(UInt32)} AND interval = '1m'
                    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            )
        GROUP BY instrument_id, timestamp
        HAVING countIf(source = 'ws') > 0 AND countIf(source = 'rest') > 0
    )
    WHERE notEmpty(differing)
)
GROUP BY venue, symbol
ORDER BY venue, symbol
