//! A campaign of the test's own in the database of the stack.

use coupon_core::event::CouponIssued;
use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_core::position::Position;
use coupon_ledger::database::{
    self, CampaignRow, CampaignRowId, DatabaseError, LoggedWinner, RowOutcome, StoreMode, Stored,
};
use coupon_testing::servers;
use sqlx::mysql::MySqlPool;

const CONNECTIONS: u32 = 4;

pub(crate) fn url() -> String {
    servers::variable("COUPON_DATABASE")
}

pub(crate) async fn pool() -> MySqlPool {
    let settings = servers::database(&url());
    let pool = database::connect(&settings, CONNECTIONS);
    database::migrate(&pool).await.unwrap();
    pool
}

pub(crate) fn some_campaign() -> CampaignId {
    CampaignId::with_default_names("test", "table", &format!("c{:016x}", rand::random::<u64>())).unwrap()
}

pub(crate) struct Ledger {
    pub(crate) pool: MySqlPool,
    pub(crate) campaign: CampaignId,
    pub(crate) id: CampaignRowId,
}

impl Ledger {
    pub(crate) async fn new(total: u64) -> Self {
        let (pool, campaign) = (pool().await, some_campaign());
        let id = database::register(&pool, &campaign, total).await.unwrap().id;
        Self { pool, campaign, id }
    }

    pub(crate) fn winner(&self, rank: u64, user: &str, n: u32) -> CouponIssued {
        CouponIssued {
            coupon_id: self.campaign.coupon_id().to_owned(),
            user_id: UserId::new(user).unwrap(),
            rank,
            issued_count: rank,
            occurred_at: "2026-01-01T09:00:00.125Z".parse().unwrap(),
            n,
            epoch: 1,
            request_key: RequestKey::new(format!("{user}-{n}")).unwrap(),
        }
    }

    /// Stores winners as records at offsets 0, 1, ... of partition 0.
    pub(crate) async fn store(&self, winners: &[CouponIssued]) -> Stored {
        self.try_store(winners).await.unwrap()
    }

    /// The same, which may fail.
    pub(crate) async fn try_store(&self, winners: &[CouponIssued]) -> Result<Stored, DatabaseError> {
        let logged: Vec<_> = winners
            .iter()
            .zip(0..)
            .map(|(event, offset)| LoggedWinner { event: event.clone(), position: Position { partition: 0, offset } })
            .collect();
        database::store(&self.pool, self.id, StoreMode::Logged(&logged)).await
    }

    pub(crate) async fn direct(&self, winners: &[CouponIssued]) -> Stored {
        database::store(&self.pool, self.id, StoreMode::Direct(winners)).await.unwrap()
    }

    pub(crate) async fn row(&self) -> CampaignRow {
        database::find(&self.pool, &self.campaign).await.unwrap().unwrap()
    }

    /// Rank and user of each row.
    pub(crate) async fn rows(&self) -> Vec<(u64, String)> {
        let rows = database::read_rows(&self.pool, &self.campaign, self.id, 0, 10_000).await.unwrap();
        rows.into_iter().map(|row| (row.rank, row.user_id.as_str().to_owned())).collect()
    }
}

pub(crate) fn all_stored(count: usize) -> Vec<RowOutcome> {
    vec![RowOutcome::Stored; count]
}
