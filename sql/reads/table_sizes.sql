-- Rows and bytes on disk of some tables, to know what a row costs.
SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes
FROM system.parts
WHERE database = 'analytics' AND active AND table IN {tables:Array(String)}
GROUP BY table
ORDER BY table
