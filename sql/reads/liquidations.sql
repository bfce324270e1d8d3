-- Liquidations of some instruments for a frame, in the order of their times. Columns are bound by name, those not wanted as `nothing`.
WITH false AS nothing
SELECT
    {key:Identifier}, timestamp, source,
    {c0:Identifier}, {c1:Identifier}, {c2:Identifier}, {c3:Identifier}, {c4:Identifier}, {c5:Identifier},
    {c6:Identifier}, {c7:Identifier}, {c8:Identifier}, {c9:Identifier}, {c10:Identifier}, {c11:Identifier},
    {c12:Identifier}, {c13:Identifier}, {c14:Identifier}, {c15:Identifier}, {c16:Identifier}, {c17:Identifier},
    {c18:Identifier}, {c19:Identifier}, {c20:Identifier}, {c21:Identifier}, {c22:Identifier}, {c23:Identifier}
FROM analytics.v_liquidations
WHERE instrument_id IN {instruments:Array(UInt32)}
    AND timestamp >= {start:DateTime64(3, 'UTC')} AND timestamp < {end:DateTime64(3, 'UTC')}
ORDER BY instrument_id, timestamp, liquidation_id
