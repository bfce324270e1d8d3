-- From when to when there are published 1m bars, and of how many instruments.
SELECT min(timestamp) AS first, max(timestamp) AS last, uniqExact(instrument_id) AS instruments
FROM analytics.bars_history
WHERE interval = '1m'
