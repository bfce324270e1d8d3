-- The partitions of one table. Parameter: table.
SELECT DISTINCT partition_id
FROM system.parts
WHERE database = 'analytics' AND active AND table = {table:String}
ORDER BY partition_id
