-- What the rows of a dataset of events were at one moment, a hash an instrument and month that does not depend on their order: of
-- all its columns but ids and when we learnt of a row. An event has one version, so what was published by then is what was there.
SELECT
    instrument_id, '' AS bar, toStartOfMonth(timestamp) AS month,
    count() AS row_count, sum(low) AS hash_low, sum(high) AS hash_high
FROM
(
    SELECT
        instrument_id, timestamp,
        cityHash64(tuple(* EXCEPT (instrument_id, batch_id, ingested_at, published_at))) AS low,
        xxHash64(tuple(* EXCEPT (instrument_id, batch_id, ingested_at, published_at))) AS high
    FROM {database:Identifier}.{history:Identifier} FINAL
    WHERE published_at <= {as_of:DateTime64(3, 'UTC')}
        AND instrument_id IN {instruments:Array(UInt32)}
        AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
)
GROUP BY instrument_id, month
