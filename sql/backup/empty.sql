-- Take away what an interrupted restore left in one table. Parameter: table.
TRUNCATE TABLE {database:Identifier}.{table:Identifier}
