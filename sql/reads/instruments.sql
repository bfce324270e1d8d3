-- What the given venues list today.
SELECT * FROM analytics.v_instruments WHERE venue IN {venues:Array(String)} ORDER BY venue, symbol
