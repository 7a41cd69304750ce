-- What reports and people may rely on: one row for each coupon that somebody holds, or held until it was given up. The tables behind it
-- are the programs' own, and may change. It shows no request keys: they may be order numbers.
-- Text is compared as the programs compare it, letter by letter: without a collation of its own `Anna` and `anna` would be one user.
-- A time that is none (before 1970, or after 9999) is shown as the nearest that is: one row must not break the report of all.
-- Times are UTC, whatever the session's time zone is: system variables are not allowed in a view, so both begin at 1970.
CREATE OR REPLACE VIEW user_coupons AS
SELECT
    CONVERT(campaign.realm USING utf8mb4) COLLATE utf8mb4_bin                                                   AS realm,
    CONVERT(campaign.namespace USING utf8mb4) COLLATE utf8mb4_bin                                               AS namespace,
    CONVERT(campaign.coupon_id USING utf8mb4) COLLATE utf8mb4_bin                                               AS coupon_id,
    coupon.issue_rank                                                                       AS issue_rank,
    CONVERT(coupon.user_id USING utf8mb4) COLLATE utf8mb4_bin                                                   AS user_id,
    coupon.user_nth                                                                         AS user_nth,
    'stored'                                                                                AS status,
    CAST('1970-01-01 00:00:00' AS DATETIME(6)) + INTERVAL LEAST(GREATEST(coupon.occurred_at_ms, 0), 253402300799999) * 1000 MICROSECOND AS issued_at,
    CAST('1970-01-01 00:00:00' AS DATETIME(6)) + INTERVAL ROUND(UNIX_TIMESTAMP(coupon.stored_at) * 1000000) MICROSECOND AS stored_at
FROM issued_coupon AS coupon JOIN campaign ON campaign.id = coupon.campaign_id
UNION ALL
SELECT
    CONVERT(campaign.realm USING utf8mb4) COLLATE utf8mb4_bin,
    CONVERT(campaign.namespace USING utf8mb4) COLLATE utf8mb4_bin,
    CONVERT(campaign.coupon_id USING utf8mb4) COLLATE utf8mb4_bin,
    coupon.issue_rank,
    CONVERT(coupon.user_id USING utf8mb4) COLLATE utf8mb4_bin,
    coupon.user_nth,
    'discarded',
    CAST('1970-01-01 00:00:00' AS DATETIME(6)) + INTERVAL LEAST(GREATEST(coupon.occurred_at_ms, 0), 253402300799999) * 1000 MICROSECOND,
    NULL
FROM discarded_coupon AS coupon JOIN campaign ON campaign.id = coupon.campaign_id;
