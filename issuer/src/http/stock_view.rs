//! The state of the campaign in Redis, read at most once in [`FRESH`], however many ask.

use std::time::Duration;

use campaign::identity::CampaignId;
use campaign::stock::{StockKeys, StockState, observe};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::redis_link::{LinkError, RedisLink};

/// How old an answer may be.
pub const FRESH: Duration = Duration::from_millis(200);
/// How long one may wait for somebody else's read.
const WAIT: Duration = Duration::from_secs(2);

pub(super) struct StockView {
    link: RedisLink,
    keys: StockKeys,
    last: Mutex<Option<(Instant, Result<StockState, LinkError>)>>,
}

impl StockView {
    pub fn new(link: RedisLink, campaign: &CampaignId) -> Self {
        Self { link, keys: StockKeys::of(campaign), last: Mutex::new(None) }
    }

    /// The state, at most [`FRESH`] old; a failure is remembered as long.
    pub async fn get(&self) -> Result<StockState, LinkError> {
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
