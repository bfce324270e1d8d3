-- Months that have published 1m bars.
SELECT DISTINCT toStartOfMonth(timestamp) AS month
FROM analytics.bars_history
WHERE interval = '1m'
ORDER BY month
