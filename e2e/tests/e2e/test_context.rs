//! What every scenario needs: the product installed once, a namespace, the database.

use std::time::Duration;

use coupon_core::connections::{Login, Redis, RedisServer};
use e2e::database::{self, Rows};
use e2e::install::{self, REALM};
use e2e::issuer_client::Response;
use e2e::wait::until;
use kube::Client;
use rand::RngExt;
use sqlx::MySqlPool;
use stack::Connections;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// Long enough for pods to start on a machine that is busy and half as fast as one would like.
pub(crate) const SOON: Duration = Duration::from_secs(180);

/// Scenarios at the same time: the machine is small.
static TURNS: Semaphore = Semaphore::const_new(AT_A_TIME as usize);
const AT_A_TIME: u32 = 4;
static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// A place of its own for one scenario.
pub(crate) struct TestContext {
    /// The Kubernetes API.
    pub client: Client,
    /// Where the services are.
    pub connections: Connections,
    /// The database.
    pub pool: MySqlPool,
    /// A namespace that takes part.
    pub namespace: String,
    _turn: SemaphorePermit<'static>,
}

impl TestContext {
    /// Waits for its turn, installs the product if nobody has yet, and makes a namespace.
    pub(crate) async fn new(what: &str) -> Self {
        Self::with(TURNS.acquire().await.unwrap(), what).await
    }

    /// The same, and no other scenario meanwhile: for those that would disturb all others.
    pub(crate) async fn alone(what: &str) -> Self {
        Self::with(TURNS.acquire_many(AT_A_TIME).await.unwrap(), what).await
    }

    async fn with(turn: SemaphorePermit<'static>, what: &str) -> Self {
        let connections = Connections::from_env().unwrap();
        INSTALLED.get_or_init(|| async { install::install(&connections).await.unwrap() }).await;
        let namespace = format!("{what}-{:06x}", rand::rng().random_range(0..0x100_0000));
        install::namespace(&namespace, true).await.unwrap();
        Self {
            client: Client::try_default().await.unwrap(),
            pool: database::connect(&connections).await.unwrap(),
            connections,
            namespace,
            _turn: turn,
        }
    }

    /// Where Redis is, with all rights.
    pub(crate) fn redis(&self) -> Redis {
        let url = e2e::url::Url::parse(self.connections.redis.as_deref().unwrap()).unwrap();
        Redis {
            server: RedisServer::Address(url.address),
            login: Login { username: url.user, password: url.password },
            tls: false,
            database: 0,
            ca_pem: None,
        }
    }

    /// The rows of a campaign.
    pub(crate) async fn rows(&self, coupon_id: &str) -> Rows {
        self.rows_in(&self.namespace, coupon_id).await
    }

    /// The rows of a campaign in another namespace.
    pub(crate) async fn rows_in(&self, namespace: &str, coupon_id: &str) -> Rows {
        database::rows(&self.pool, REALM, namespace, coupon_id).await.unwrap()
    }

    /// Waits until exactly those who heard "issued" are rows, with the ranks they heard.
    pub(crate) async fn stored_as_told(&self, coupon_id: &str, answers: &[Response]) {
        let mut told: Vec<(u64, String)> =
            answers.iter().filter_map(|each| each.rank.map(|rank| (rank, each.user.clone()))).collect();
        told.sort();
        told.dedup();
        let equal = until("rows as people were told", SOON, async || {
            let rows = self.rows(coupon_id).await;
            if rows.winners == told {
                Ok(())
            } else {
                Err(format!("{} rows, {} were told", rows.winners.len(), told.len()))
            }
        });
        equal.await.unwrap();
    }

    /// Waits until an event of this reason says these words of the campaign.
    pub(crate) async fn event(&self, campaign: &str, reason: &str, words: &str) {
        let selector = format!("involvedObject.name={campaign},reason={reason}");
        let arguments = ["get", "events", "-n", &self.namespace, "--field-selector", &selector];
        let arguments = [&arguments[..], &["-o", "jsonpath={.items[*].message}"]].concat();
        until(&format!("an event {reason}: {words}"), SOON, async || match install::kubectl(&arguments).await {
            Ok(text) if text.contains(words) => Ok(()),
            Ok(text) => Err(text),
            Err(error) => Err(error.to_string()),
        })
        .await
        .unwrap();
    }

    /// Removes the namespace, and with it the pods, so that the next scenario has room.
    pub(crate) async fn leave(self) {
        install::kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]).await.unwrap();
    }
}
