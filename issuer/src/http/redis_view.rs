//! The state of the campaign in Redis, read at most once in [`FRESH`], however many ask.

use std::time::Duration;

use coupon_core::identity::CampaignId;
use coupon_ledger::redis::{RedisKeys, RedisState, observe};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::pipeline::redis_link::{LinkError, RedisLink};

/// How old an answer may be.
pub(crate) const FRESH: Duration = Duration::from_millis(200);
/// How long one may wait for somebody else's read.
const WAIT: Duration = Duration::from_secs(2);

pub(super) struct RedisView {
    link: RedisLink,
    keys: RedisKeys,
    last: Mutex<Option<(Instant, Result<RedisState, LinkError>)>>,
}

impl RedisView {
    pub(crate) fn new(link: RedisLink, campaign: &CampaignId) -> Self {
        Self { link, keys: RedisKeys::of(campaign), last: Mutex::new(None) }
    }

    /// The state, at most [`FRESH`] old; a failure is remembered as long.
    pub(crate) async fn get(&self) -> Result<RedisState, LinkError> {
        let Ok(mut last) = tokio::time::timeout(WAIT, self.last.lock()).await else { return Err(LinkError::Away) };
        if let Some((at, state)) = &*last
            && at.elapsed() < FRESH
        {
            return state.clone();
        }
        let state = self.link.read(|mut connection| async move { observe(&mut connection, &self.keys).await }).await;
        *last = Some((Instant::now(), state.clone()));
        state
    }
}
