-- Days of which mart/history or mart/current would still write something: staged values that are not the last of history,
-- and versions of history that the current table does not have. Values are compared of what came again and is no version of
-- history, which costs half of comparing all.
SELECT DISTINCT instrument_id, toDate(timestamp) AS day
FROM
(
    SELECT instrument_id, timestamp
    FROM
    (
        SELECT
            instrument_id, {series:Identifier} AS series, timestamp,
            cityHash64(tuple(* EXCEPT (instrument_id, venue, symbol, interval, timestamp, source, batch_id, ingested_at, version,
                is_final, rule, row_hash, row))) AS content
        FROM {database:Identifier}.{judged:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
            AND is_final AND rule = ''
            AND cityHash64(instrument_id, {series:Identifier}, timestamp, version) IN
            (
                SELECT cityHash64(instrument_id, series, timestamp, version)
                FROM
                (
                    SELECT instrument_id, {series:Identifier} AS series, timestamp, max(version) AS version
                    FROM {database:Identifier}.{staging:Identifier}
                    WHERE instrument_id IN {instruments:Array(UInt32)}
                        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
                    GROUP BY instrument_id, series, timestamp
                )
                WHERE cityHash64(instrument_id, series, timestamp, version) NOT IN
                (
                    SELECT cityHash64(instrument_id, {series:Identifier}, timestamp, version)
                    FROM {database:Identifier}.{history:Identifier}
                    WHERE instrument_id IN {instruments:Array(UInt32)}
                        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
                )
            )
    ) AS staged
    LEFT ANTI JOIN
    (
        SELECT
            instrument_id, {series:Identifier} AS series, timestamp,
            argMax(
                cityHash64(tuple(* EXCEPT (instrument_id, venue, symbol, interval, timestamp, source, batch_id, ingested_at, version, published_at))),
                version) AS content
        FROM {database:Identifier}.{history:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        GROUP BY instrument_id, series, timestamp
    ) AS published
    ON staged.instrument_id = published.instrument_id AND staged.series = published.series AND staged.timestamp = published.timestamp
        AND staged.content = published.content
    UNION ALL
    SELECT instrument_id, timestamp
    FROM
    (
        SELECT instrument_id, {series:Identifier} AS series, timestamp, version AS published, 0 AS known
        FROM {database:Identifier}.{history:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
        UNION ALL
        SELECT instrument_id, {series:Identifier}, timestamp, 0, version
        FROM {database:Identifier}.{current:Identifier}
        WHERE instrument_id IN {instruments:Array(UInt32)}
            AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
    )
    GROUP BY instrument_id, series, timestamp
    HAVING max(published) > max(known)
)
