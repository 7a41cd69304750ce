//! Asks Redis what it has given. A Redis that does not serve the campaign has not answered: absent is not empty.

use std::time::Duration;

use coupon_core::connections::Connections;
use coupon_core::identity::CampaignId;
use coupon_core::shown;
use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::{self, Grants, MAX_BATCH, RedisError, RedisKeys, RedisState};

use super::given::Given;

/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of the ranks that were given. `row` was read before, and the rows are to be read after: Redis then gave each of them before
/// it was asked, or no longer gives any.
pub(super) async fn given(connections: &Connections, campaign: &CampaignId, row: &CampaignRow) -> Given {
    if row.keys_removed_ms.is_some() {
        return Given::KeysRemoved { winners: row.issued_count };
    }
    match observe(connections, campaign).await {
        Ok(state) => Given::of_redis(row.open_epoch, &state),
        Err(error) => Given::Unknown { why: shown::causes(&error) },
    }
}

async fn observe(connections: &Connections, campaign: &CampaignId) -> Result<RedisState, RedisError> {
    let mut redis = redis::connect::connect(&connections.redis, REDIS_TIMEOUT).await?;
    redis::observe(&mut redis, &RedisKeys::of(campaign)).await
}

/// Those of these ranks that somebody holds under `epoch`; an error says in words why that is not known.
pub(super) async fn held(
    connections: &Connections,
    campaign: &CampaignId,
    epoch: u64,
    ranks: &[u64],
) -> Result<Vec<u64>, String> {
    let words = |error: RedisError| shown::causes(&error);
    let mut redis = redis::connect::connect(&connections.redis, REDIS_TIMEOUT).await.map_err(words)?;
    let keys = RedisKeys::of(campaign);
    let mut all = Vec::new();
    for batch in ranks.chunks(MAX_BATCH) {
        match redis::grants(&mut redis, &keys, batch).await.map_err(words)? {
            Grants::Found { epoch: found, held, .. } if found == epoch => {
                all.extend(held.into_iter().flatten().map(|held| held.rank));
            }
            Grants::Found { .. } | Grants::Refused(_) => {
                return Err("it was closed, or filled anew, while the list was written".to_owned());
            }
        }
    }
    Ok(all)
}
