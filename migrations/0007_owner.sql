-- The cluster whose operator works on this ledger: UID of its namespace kube-system. NULL: nobody's.
ALTER TABLE campaign ADD COLUMN owner_cluster VARBINARY(64) NULL AFTER object_uid;
-- How often it came to another cluster. A hand-over names it, so that one that was asked for happens once.
ALTER TABLE campaign ADD COLUMN owner_changes BIGINT UNSIGNED NOT NULL DEFAULT 0 AFTER owner_cluster;
-- The owner before, while its issuers are not known to have stopped. No epoch begins meanwhile.
ALTER TABLE campaign ADD COLUMN unfenced_cluster VARBINARY(64) NULL AFTER owner_changes;
-- The epoch that they may grant under; NULL where it is not known.
ALTER TABLE campaign ADD COLUMN unfenced_epoch BIGINT UNSIGNED NULL AFTER unfenced_cluster;
-- Redis grants nothing under it any more.
ALTER TABLE campaign ADD COLUMN unfenced_closed BOOLEAN NOT NULL DEFAULT FALSE AFTER unfenced_epoch;
