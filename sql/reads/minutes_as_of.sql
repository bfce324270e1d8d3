-- Which minutes of some instruments were published at one moment. Minutes are never taken back, so versions do not matter.
SELECT DISTINCT instrument_id, intDiv(toUnixTimestamp64Milli(timestamp), 60000) * 60000 AS minute
FROM analytics.bars_history
WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
    AND instrument_id IN {instruments:Array(UInt32)} AND interval = '1m'
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY instrument_id, minute
SETTINGS output_format_arrow_compression_method = 'none'
