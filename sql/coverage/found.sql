-- Whether a judgement found anything missing.
SELECT count() AS candidates FROM analytics.gap_candidates WHERE judgement = {judgement:UUID}
