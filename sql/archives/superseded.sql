-- Files of which another content was seen since: what we knew of the earlier one stays, with a word that it is not there any more.
INSERT INTO analytics.archive_files
SELECT * REPLACE ('superseded' AS status, {now:DateTime64(3, 'UTC')} AS seen_at)
FROM
(
    SELECT * FROM analytics.archive_files FINAL
    WHERE venue IN {venues:Array(String)} AND key IN {keys:Array(String)} AND status != 'superseded'
)
WHERE (venue, key, etag) NOT IN
(
    SELECT venue, key, argMax(etag, seen_at) FROM analytics.archive_files
    WHERE venue IN {venues:Array(String)} AND key IN {keys:Array(String)} AND status != 'superseded'
    GROUP BY venue, key
)
