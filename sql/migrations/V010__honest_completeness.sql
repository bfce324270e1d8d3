-- What is explained no longer counts as complete, and outages with a pattern are suspicious: the columns say so. Days that are
-- not judged again keep the figures of their time.
ALTER TABLE analytics.coverage COMMENT COLUMN explained 'Missing slots that the verdict in gaps explains: venue_outage, no_trades, retention_lost, delisted or not_listed';
ALTER TABLE analytics.coverage COMMENT COLUMN completeness '0 to 100: present slots of the expected ones that could have been traded in, whatever explains the others';
ALTER TABLE analytics.coverage COMMENT COLUMN score '0 to 100, the weighted sum of the four parts and at most completeness, rounded down to a tenth so that 100 is perfect';
ALTER TABLE analytics.gaps COMMENT COLUMN verdict 'not_listed, delisted, venue_outage, no_trades, retention_lost, suspicious, we_missed or unknown';
