-- Inserts under way into the tables whose name matches, by the server's own list. One that is not in it has not begun, or
-- is visible.
SELECT query_id
FROM system.processes
WHERE match(query, {target:String})
