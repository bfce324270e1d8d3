-- What nobody could have traded in, of what is missing: without it completeness of more than a day cannot be told.
ALTER TABLE analytics.coverage ADD COLUMN IF NOT EXISTS not_due UInt32 DEFAULT 0 COMMENT 'Missing slots in which nobody could have traded: before a listing, after a delisting, outside what the universe keeps';
ALTER TABLE analytics.coverage COMMENT COLUMN completeness '0 to 100: present slots of the expected ones less not_due, whatever explains the others';
