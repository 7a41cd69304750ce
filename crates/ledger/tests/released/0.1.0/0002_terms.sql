-- The number of the newest change of terms. Whoever changes total, limit, window or suspension, or opens an epoch, takes the
-- next one first; SQL and Redis refuse what is older.
ALTER TABLE campaign ADD COLUMN terms_number BIGINT UNSIGNED NOT NULL DEFAULT 0 AFTER total_quantity;
