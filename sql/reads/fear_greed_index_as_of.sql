-- `reads/fear_greed_index` as it was at one moment.
WITH false AS nothing
SELECT {key:Identifier}, timestamp, source, {c0:Identifier}, {c1:Identifier}, {c2:Identifier}, {c3:Identifier}
FROM analytics.fear_greed_index_as_of(
    as_of = {as_of:DateTime64(3, 'UTC')}, instruments = {instruments:Array(UInt32)},
    start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
ORDER BY timestamp
