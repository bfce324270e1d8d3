-- `reads/funding_rates` as it was at one moment.
WITH false AS nothing
SELECT
    {key:Identifier}, timestamp, source,
    {c0:Identifier}, {c1:Identifier}, {c2:Identifier}, {c3:Identifier}, {c4:Identifier}, {c5:Identifier},
    {c6:Identifier}, {c7:Identifier}, {c8:Identifier}, {c9:Identifier}, {c10:Identifier}, {c11:Identifier},
    {c12:Identifier}, {c13:Identifier}, {c14:Identifier}, {c15:Identifier}, {c16:Identifier}
FROM analytics.funding_rates_as_of(
    as_of = {as_of:DateTime64(3, 'UTC')}, instruments = {instruments:Array(UInt32)},
    start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
ORDER BY instrument_id, timestamp, rate_type
