-- The terms under which a window has opened: whoever applies the campaign anew is held against them. Milliseconds since 1970.
ALTER TABLE campaign ADD COLUMN opened_end_ms BIGINT NULL AFTER opened_start_ms;
ALTER TABLE campaign ADD COLUMN opened_user_limit INT UNSIGNED NULL AFTER opened_end_ms;
-- UID of the object in Kubernetes that the ledger belongs to.
ALTER TABLE campaign ADD COLUMN object_uid VARBINARY(64) NULL AFTER opened_key_by;
