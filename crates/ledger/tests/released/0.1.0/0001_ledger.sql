-- A campaign's row outlives the object in Kubernetes: a manifest that is applied again finds its ledger here.
CREATE TABLE campaign (
    id               BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    realm            VARBINARY(20)   NOT NULL,
    namespace        VARBINARY(63)   NOT NULL,
    coupon_id        VARBINARY(40)   NOT NULL,
    total_quantity   BIGINT UNSIGNED NOT NULL,
    -- The highest epoch ever allotted. It never falls, not even when the campaign is deleted and applied again.
    epoch            BIGINT UNSIGNED NOT NULL DEFAULT 0,
    -- The epoch under which issuers may grant; NULL while closed.
    open_epoch       BIGINT UNSIGNED NULL,
    -- The topic that we created. Empty while a creation is under way.
    topic_id         VARBINARY(64)   NULL,
    kafka_cluster_id VARBINARY(64)   NULL,
    -- Fixed once a window has opened, milliseconds since 1970.
    opened_start_ms  BIGINT          NULL,
    opened_key_by    VARBINARY(16)   NULL,
    -- Written by the operator every few seconds at most, never per coupon.
    issued_count     BIGINT UNSIGNED NOT NULL DEFAULT 0,
    created_at       TIMESTAMP(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    updated_at       TIMESTAMP(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    UNIQUE KEY campaign_identity (realm, namespace, coupon_id)
) ENGINE = InnoDB;

-- One row per coupon. The two unique keys are the last wall: no rank twice, no n-th coupon of a user twice.
CREATE TABLE issued_coupon (
    campaign_id    BIGINT UNSIGNED NOT NULL,
    issue_rank     BIGINT UNSIGNED NOT NULL,
    -- Bytes: no collation may decide that two users are one.
    user_id        VARBINARY(128)  NOT NULL,
    user_nth       INT UNSIGNED    NOT NULL,
    request_key    VARBINARY(128)  NOT NULL,
    epoch          BIGINT UNSIGNED NOT NULL,
    occurred_at_ms BIGINT          NOT NULL,
    stored_at      TIMESTAMP(6)    NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (campaign_id, issue_rank),
    UNIQUE KEY issued_coupon_user (campaign_id, user_id, user_nth),
    CONSTRAINT issued_coupon_campaign FOREIGN KEY (campaign_id) REFERENCES campaign (id)
) ENGINE = InnoDB;

-- Where the log ended when an epoch began. A record of an older epoch at or beyond it is void.
CREATE TABLE epoch_barrier (
    campaign_id  BIGINT UNSIGNED NOT NULL,
    epoch        BIGINT UNSIGNED NOT NULL,
    topic_id     VARBINARY(64)   NOT NULL,
    partition_id INT             NOT NULL,
    end_offset   BIGINT          NOT NULL,
    PRIMARY KEY (campaign_id, epoch, partition_id),
    CONSTRAINT epoch_barrier_campaign FOREIGN KEY (campaign_id) REFERENCES campaign (id)
) ENGINE = InnoDB;
