-- History -> the current version of each key: whatever is newer than what the table has. Also makes up for a publication cut short.
INSERT INTO {database:Identifier}.{current:Identifier}
SELECT published.* EXCEPT series
FROM
(
    SELECT *, {series:Identifier} AS series
    FROM {database:Identifier}.{history:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
) AS published
LEFT JOIN
(
    SELECT instrument_id, {series:Identifier} AS series, timestamp, max(version) AS version
    FROM {database:Identifier}.{current:Identifier}
    WHERE instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    GROUP BY instrument_id, series, timestamp
) AS known
ON published.instrument_id = known.instrument_id AND published.series = known.series AND published.timestamp = known.timestamp
WHERE published.version > known.version
