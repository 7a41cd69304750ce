//! A database that is slow to look something up, or that is another one by now.

use std::time::{Duration, Instant};

use coupon_core::connections::{Connections, Database, Login};
use coupon_ledger::database::{self, EpochCommit};
use coupon_testing::proxy::Proxy;
use futures::future::join_all;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use stack::services::MariaDb;

use super::fixture::{Fixture, eventually, terms, within};

/// Where nothing listens.
const NOWHERE: &str = "127.0.0.1:9";
/// How long it may take until writes go to another server (README, "Install").
const FOLLOWED: Duration = Duration::from_secs(30);

/// The workload's settings, with the database behind a proxy, and Kafka away.
fn behind(fixture: &Fixture, proxy: &Proxy) -> Connections {
    let mut connections = fixture.workload.clone();
    connections.database.host = proxy.address.ip().to_string();
    connections.database.port = proxy.address.port();
    connections.kafka.bootstrap_servers = vec![NOWHERE.into()];
    connections
}

/// Wrong: users who look up what they have, while the database is slow at that, keep winners from being stored past Kafka.
#[tokio::test(flavor = "multi_thread")]
async fn look_ups_that_hang_keep_no_winner_from_its_row() {
    let fixture = Fixture::open(terms(1000, 1)).await;
    let address = format!("{}:{}", fixture.workload.database.host, fixture.workload.database.port);
    let proxy = Proxy::to(address).await;
    let issuer = fixture.start(&behind(&fixture, &proxy), &[]).await;
    issuer.wait_ready().await;
    proxy.block("user_id = ?");
    let look = async |user: &str| issuer.users.get(&format!("/api/coupons/spring/users/{user}")).await;
    assert_eq!(look("anna").await.body["storedKnown"], false, "it hangs");

    let asking = async {
        for winner in 0..40 {
            let told = issuer.users.ask(&format!("winner-{winner}")).await;
            assert_eq!(told.status, 200, "winner {winner}: {told:?}");
        }
    };
    let looking = join_all((0..48).map(|number| async move {
        loop {
            let told = look(&format!("user-{number}")).await;
            assert!(told.status == 200 || told.code() == "OVERLOADED", "{told:?}");
        }
    }));
    tokio::select! {
        () = asking => {}
        _ = looking => {}
    }
    let rows = database::count_stored(&fixture.pool, fixture.row, 0).await.unwrap().0;
    assert_eq!(rows, 40, "each of them past Kafka");

    // About one user only so many at once, whoever asks; others are looked up meanwhile.
    let same = join_all((0..20).map(|_| look("anna"))).await;
    let refused: Vec<_> = same.iter().filter(|told| told.code() == "OVERLOADED").collect();
    assert!(!refused.is_empty() && refused.len() < same.len(), "{} of {}", refused.len(), same.len());
    assert!(refused.iter().all(|told| told.status == 503 && told.header("retry-after").is_some()));
}

/// A database of its own with the ledger of the fixture's campaign, open under the same epoch.
struct Copy {
    server: MariaDb,
    pool: MySqlPool,
    root: MySqlPool,
    row: database::CampaignRowId,
}

impl Copy {
    async fn of(fixture: &Fixture, total: u64) -> Self {
        let server = tokio::task::spawn_blocking(MariaDb::start).await.unwrap().unwrap();
        let options = MySqlConnectOptions::new().socket(server.socket()).username("root");
        let root = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let pool = database::connect(&settings(&server, &server.url()), 1);
        database::migrate(&pool).await.unwrap();
        let row = database::register(&pool, &fixture.campaign, total).await.unwrap().id;
        let epoch = database::allot_epoch(&pool, row, fixture.epoch - 1).await.unwrap();
        assert_eq!(epoch, fixture.epoch);
        assert_eq!(database::open_epoch(&pool, row, epoch).await.unwrap(), EpochCommit::Done);
        Self { server, pool, root, row }
    }

    fn address(&self) -> String {
        self.server.url().split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned()
    }

    async fn takes_writes(&self, yes: bool) {
        let statement = if yes { "SET GLOBAL read_only = 0" } else { "SET GLOBAL read_only = 1" };
        sqlx::raw_sql(statement).execute(&self.root).await.unwrap();
    }

    async fn has(&self, fixture: &Fixture, user: &str) -> bool {
        let user = coupon_core::identity::UserId::new(user).unwrap();
        !database::held_by(&self.pool, &fixture.campaign, self.row, &user).await.unwrap().is_empty()
    }
}

fn settings(server: &MariaDb, url: &str) -> Database {
    let (login, place) = url.strip_prefix("mysql://").unwrap().split_once('@').unwrap();
    let ((username, password), (address, name)) = (login.split_once(':').unwrap(), place.split_once('/').unwrap());
    let (host, port) = address.rsplit_once(':').unwrap();
    assert!(server.url().contains(address));
    Database {
        host: host.to_owned(),
        port: port.parse().unwrap(),
        name: name.to_owned(),
        login: Login { username: username.to_owned(), password: password.to_owned() },
        tls: coupon_core::connections::DatabaseTls::Disabled,
        ca_pem: None,
    }
}

/// Wrong: after a failover an issuer goes on with its connections to the old primary, for as long as they live, while Kafka is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_moved_is_followed_within_half_a_minute() {
    const TOTAL: u64 = 100_000;
    let mut fixture = Fixture::open(terms(TOTAL, 1)).await;
    let (first, second) = (Copy::of(&fixture, TOTAL).await, Copy::of(&fixture, TOTAL).await);
    fixture.workload.database = settings(&first.server, &first.server.workload_url());
    let proxy = Proxy::to(first.address()).await;
    let issuer = fixture.start(&behind(&fixture, &proxy), &[]).await;
    issuer.wait_ready().await;
    assert_eq!(issuer.users.ask("before").await.status, 200);
    assert!(first.has(&fixture, "before").await);

    // The old one takes no writes; it is up and takes them, and nothing but new connections tells that others are to be used; it hangs.
    for (story, to) in [("takes no writes", &second), ("says nothing of it", &first), ("hangs", &second)] {
        match story {
            "takes no writes" => first.takes_writes(false).await,
            "says nothing of it" => first.takes_writes(true).await,
            _ => first.server.pause().unwrap(),
        }
        proxy.lead_to(to.address());
        let moved = Instant::now();
        let mut number = 0;
        within(FOLLOWED, story, async || {
            number += 1;
            let user = format!("{}-{number}", story.replace(' ', "-"));
            let told = issuer.users.ask(&user).await;
            assert!(told.status == 200 || told.code() == "UNCONFIRMED" || told.code() == "OVERLOADED", "{told:?}");
            (told.status == 200 && to.has(&fixture, &user).await).then_some(())
        })
        .await;
        eprintln!("{story}: followed after {} ms", moved.elapsed().as_millis());
        // Look-ups follow too.
        eventually("a look-up finds the new row", async || {
            let user = format!("{}-{number}", story.replace(' ', "-"));
            let view = issuer.users.get(&format!("/api/coupons/spring/users/{user}")).await.body;
            (view["coupons"][0]["state"] == "stored").then_some(())
        })
        .await;
    }
    first.server.resume().unwrap();
}
