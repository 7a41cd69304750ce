-- Winners that were stored past Kafka, which did not answer: their records are written when it does, so that whoever reads the topic
-- finds every winner. One row per rank.
CREATE TABLE IF NOT EXISTS direct_coupon (
    campaign_id BIGINT UNSIGNED NOT NULL,
    issue_rank  BIGINT UNSIGNED NOT NULL,
    -- Whether the record was written since.
    published   BOOLEAN         NOT NULL DEFAULT FALSE,
    PRIMARY KEY (campaign_id, issue_rank),
    KEY direct_coupon_unpublished (campaign_id, published, issue_rank),
    CONSTRAINT direct_coupon_campaign FOREIGN KEY (campaign_id) REFERENCES campaign (id)
) ENGINE = InnoDB;
