-- Days whose word is not the one the source itself uses for such a value: to 25, 46, 54, 75 and 100 on all 3,044 days from 2018-02 to 2026-06.
SELECT value, classification, min(timestamp) AS first, max(timestamp) AS last, count() AS rows
FROM analytics.v_fear_greed
WHERE timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    AND classification != multiIf(value <= 25, 'Extreme Fear', value <= 46, 'Fear', value <= 54, 'Neutral', value <= 75, 'Greed', 'Extreme Greed')
GROUP BY value, classification
ORDER BY value, classification
