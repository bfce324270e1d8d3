-- Instruments whose stream speaks: a closed 1m bar of recent minutes came lately. `opened` is by the clock of the venue, `came` by ours.
SELECT DISTINCT instrument_id
FROM analytics.landing_bars
WHERE source = 'ws' AND interval = '1m' AND instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {opened:DateTime64(3, 'UTC')} AND ingested_at >= {came:DateTime64(3, 'UTC')}
