-- Up to where the log of a completed campaign was found stored: what lies before is a row or a dead letter, whatever the group
-- still remembers. Committed offsets expire after days without members.
CREATE TABLE IF NOT EXISTS drained (
    campaign_id  BIGINT UNSIGNED NOT NULL,
    topic_id     VARBINARY(64)   NOT NULL,
    partition_id INT             NOT NULL,
    end_offset   BIGINT          NOT NULL,
    PRIMARY KEY (campaign_id, topic_id, partition_id),
    CONSTRAINT drained_campaign FOREIGN KEY (campaign_id) REFERENCES campaign (id)
) ENGINE = InnoDB;
