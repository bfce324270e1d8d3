-- The first word of a statement, as the server reads it: comments and blanks before it do not count.
SELECT upper(extract(formatQuery({statement:String}), '\\w+')) AS kind
