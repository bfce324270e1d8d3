-- Which streamed bars landing has of a span: a journal that is read again brings only the others.
SELECT instrument_id, timestamp, batch_id, groupArray(ingested_at) AS ingested
FROM analytics.landing_bars
WHERE source = 'ws' AND instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
GROUP BY instrument_id, timestamp, batch_id
