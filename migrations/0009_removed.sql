-- Since when Redis holds nothing of a campaign that is over, milliseconds since 1970: every winner is a row.
ALTER TABLE campaign ADD COLUMN keys_removed_ms BIGINT NULL;
-- The epoch under which the keys went. Every later epoch fills Redis again, and then the time says nothing any more.
ALTER TABLE campaign ADD COLUMN keys_removed_epoch BIGINT UNSIGNED NULL;
