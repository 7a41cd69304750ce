-- Coupons of people who were forgotten: they stay, under a pseudonym. Records of the log, dead letters and copies of Redis may still
-- hold the former user id: the hash tells that they mean this coupon, and tells nobody who it was.
CREATE TABLE IF NOT EXISTS forgotten_coupon (
    campaign_id  BIGINT UNSIGNED NOT NULL,
    issue_rank   BIGINT UNSIGNED NOT NULL,
    pseudonym    VARBINARY(128)  NOT NULL,
    salt         VARBINARY(16)   NOT NULL,
    -- SHA-256 of the salt and the former user id.
    user_hash    VARBINARY(32)   NOT NULL,
    forgotten_at TIMESTAMP(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (campaign_id, issue_rank, pseudonym),
    CONSTRAINT forgotten_coupon_campaign FOREIGN KEY (campaign_id) REFERENCES campaign (id)
) ENGINE = InnoDB;

-- Grows each time somebody is forgotten: whoever stores winners, or fills Redis, looks for pseudonyms if it is not 0, and begins anew
-- if it has grown meanwhile.
ALTER TABLE campaign ADD COLUMN forgotten_number BIGINT UNSIGNED NOT NULL DEFAULT 0;
