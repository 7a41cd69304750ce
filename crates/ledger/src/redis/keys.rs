//! The names of a campaign's keys in Redis.

use coupon_core::identity::CampaignId;

/// All keys of one campaign. They share one literal hash tag, so they live in one cluster slot.
///
/// ```
/// use coupon_core::identity::CampaignId;
/// use coupon_ledger::redis::RedisKeys;
///
/// let keys = RedisKeys::of(&CampaignId::with_default_names("prod", "shop", "spring")?);
/// assert_eq!(keys.meta, "coupon:meta:{prod/shop/spring}");
/// # Ok::<(), coupon_core::identity::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisKeys {
    /// Hash: epoch, history, terms. Absent means closed.
    pub meta: String,
    /// Sorted set: member of [`coupon_core::identity::member`], score = rank.
    pub issued: String,
    /// Hash: user -> coupons held.
    pub count: String,
    /// Hash: member -> `<granted ms>:<request key>`.
    pub request: String,
    /// List of ranks to hand out again, lowest first.
    pub free: String,
}

impl RedisKeys {
    /// The keys that issuers use.
    pub fn of(campaign: &CampaignId) -> Self {
        let tag = campaign.hash_tag();
        Self {
            meta: format!("coupon:meta:{tag}"),
            issued: format!("coupon:issued:{tag}"),
            count: format!("coupon:user:count:{tag}"),
            request: format!("coupon:request:{tag}"),
            free: format!("coupon:free:{tag}"),
        }
    }

    /// Temporary keys of one rebuild attempt.
    pub(super) fn of_attempt(campaign: &CampaignId, attempt: &str) -> Self {
        let tag = campaign.hash_tag();
        let key = |what: &str| format!("coupon:rebuild:{attempt}:{what}:{tag}");
        Self {
            meta: key("meta"),
            issued: key("issued"),
            count: key("count"),
            request: key("request"),
            free: key("free"),
        }
    }

    /// In the order in which every script declares them.
    pub(super) fn all(&self) -> [&str; 5] {
        [&self.meta, &self.issued, &self.count, &self.request, &self.free]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_lives_in_one_slot() {
        let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
        let (live, temporary) = (RedisKeys::of(&campaign), RedisKeys::of_attempt(&campaign, "a1"));
        assert_eq!(live.issued, "coupon:issued:{prod/shop/spring}");
        for key in live.all().into_iter().chain(temporary.all()) {
            let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
            assert_eq!(tag, Some("prod/shop/spring"), "{key} must carry literal braces");
        }
    }
}
