-- Grants that people have given up for good: the rank stays taken, and nobody publishes it again. One row per rank.
CREATE TABLE IF NOT EXISTS discarded_coupon (
    campaign_id  BIGINT UNSIGNED NOT NULL,
    issue_rank   BIGINT UNSIGNED NOT NULL,
    user_id      VARBINARY(128)  NOT NULL,
    user_nth     INT UNSIGNED    NOT NULL,
    request_key  VARBINARY(128)  NOT NULL,
    epoch        BIGINT UNSIGNED NOT NULL,
    -- When it was granted, milliseconds since 1970.
    occurred_at_ms BIGINT        NOT NULL,
    -- Why it could not become a row.
    why          VARCHAR(300)    CHARACTER SET utf8mb4 NOT NULL,
    discarded_at TIMESTAMP(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (campaign_id, issue_rank),
    CONSTRAINT discarded_coupon_campaign FOREIGN KEY (campaign_id) REFERENCES campaign (id)
) ENGINE = InnoDB;

-- The lowest schema version that a program must know to work with these tables. A migration that older programs cannot
-- live with raises it; they stop with a reason then, instead of writing what is wrong.
CREATE TABLE IF NOT EXISTS schema_compatibility (
    id             TINYINT UNSIGNED NOT NULL PRIMARY KEY,
    minimum_reader BIGINT           NOT NULL
) ENGINE = InnoDB;

INSERT INTO schema_compatibility (id, minimum_reader) VALUES (1, 1) ON DUPLICATE KEY UPDATE id = id;
