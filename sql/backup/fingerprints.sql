-- What each piece of a partition holds, every bit of it: RowBinary tells NULL from 0 and one NaN from another.
-- Parameters: table (with its database), partition, cut_by. Merged or not, the rows are the same: final = 1 reads as FINAL where it can.
SELECT
    toString({cut_by:Identifier}) AS piece,
    count() AS row_count,
    sum(sipHash64(formatRow('RowBinary', *))) AS hash_low,
    sum(cityHash64(formatRow('RowBinary', *))) AS hash_high
FROM {database:Identifier}.{table:Identifier}
WHERE _partition_id = {partition:String}
GROUP BY piece
ORDER BY piece
SETTINGS final = 1
