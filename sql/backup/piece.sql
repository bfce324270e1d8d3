-- The rows of one piece, as they can be inserted again. Parameters as of fingerprints, and the piece.
SELECT *
FROM {database:Identifier}.{table:Identifier}
WHERE _partition_id = {partition:String} AND {cut_by:Identifier} = {piece:String}
SETTINGS final = 1
