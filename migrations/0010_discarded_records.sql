-- Records that people have given up by their place, in the campaign's topic or among its dead letters: whoever reads the topic passes
-- them over, for good. The topic's id belongs to the place: what lies there in another topic is another record.
CREATE TABLE IF NOT EXISTS discarded_record (
    campaign_id   BIGINT UNSIGNED NOT NULL,
    topic_id      VARBINARY(64)   NOT NULL,
    partition_id  INT             NOT NULL,
    record_offset BIGINT          NOT NULL,
    -- Why it could not become a row: a word, and nobody's name.
    why           VARBINARY(40)   NOT NULL,
    discarded_at  TIMESTAMP(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (campaign_id, topic_id, partition_id, record_offset),
    CONSTRAINT discarded_record_campaign FOREIGN KEY (campaign_id) REFERENCES campaign (id)
) ENGINE = InnoDB;
