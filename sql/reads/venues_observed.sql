-- When each venue last said what it lists.
SELECT venue, observed_at FROM analytics.venues FINAL
