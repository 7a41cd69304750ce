//! Servers as a careful platform team runs them, without a cluster: a class on them, a sale, each right that nobody listed, and each
//! rotation. They are private; `make secured` does the same with pods under load.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use consumer::metrics::Metrics;
use consumer::status::Status;
use consumer::{BatchLimits, Patience};
use coupon_core::connections::{Connections, DatabaseTls, KafkaProtocol};
use coupon_core::identity::CampaignId;
use coupon_kafka_admin::{TopicSpec, TopicState};
use coupon_ledger::database::{self, EpochCommit};
use coupon_ledger::redis::rebuild::{Filled, Ledger, fill};
use coupon_ledger::redis::{RedisKeys, Terms, observe};
use e2e::database::{connect, rows};
use e2e::install::{REALM, class};
use e2e::issuer_client::{IssuerClient, count_code, users};
use e2e::logins::Login;
use e2e::wait::until;
use operator::api::CampaignClass;
use operator::class::ClassConnections;
use operator::class::measure::{Measured, System, measure};
use operator::class::pools::Systems;
use stack::services::Secured;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(60);
const COUPONS: u64 = 20;

/// Operator and pods.
type Logins = [Login; 2];

/// The servers, and what the operator makes of them.
struct Place {
    servers: Arc<Secured>,
    connections: stack::Connections,
    class: CampaignClass,
}

impl Place {
    async fn start() -> Self {
        let servers = tokio::task::spawn_blocking(Secured::start).await.unwrap().unwrap();
        let connections = servers.connections();
        let class = serde_json::from_value(class("secured", &connections, false).unwrap()).unwrap();
        Self { servers: Arc::new(servers), connections, class }
    }

    fn settings(&self, [operator, workload]: &Logins) -> ClassConnections {
        let of = |login: &Login| login.settings(&self.connections).unwrap();
        ClassConnections { operator: of(operator), workload: of(workload) }
    }

    async fn measured(&self, settings: ClassConnections) -> Measured {
        measure(&Systems::new(settings).unwrap(), &self.class).await
    }

    /// Looks until nothing is wrong: brokers take in a change in a moment after it is made.
    async fn well(&self, settings: ClassConnections, when: &str) {
        let well = until(when, SOON, async || {
            let found = self.measured(settings.clone()).await.findings;
            if found.is_empty() {
                Ok(())
            } else {
                Err(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        });
        well.await.unwrap();
    }

    /// What is wrong: with this system only.
    async fn ill(&self, settings: ClassConnections, system: System) -> (&'static str, String) {
        let found = self.measured(settings).await;
        let others: Vec<String> =
            found.findings.iter().filter(|each| each.system != system).map(ToString::to_string).collect();
        assert_eq!(others, Vec::<String>::new(), "only {system} is ill");
        found.trouble(system).unwrap_or_else(|| panic!("{system} is said to be well"))
    }

    /// What blocks.
    async fn administer(&self, work: impl FnOnce(&Secured) -> anyhow::Result<()> + Send + 'static) {
        let servers = Arc::clone(&self.servers);
        tokio::task::spawn_blocking(move || work(&servers)).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_on_secured_servers_is_ready_sells_exactly_n_and_follows_every_rotation() {
    let place = Place::start().await;
    let logins = [Login::operator(), Login::workload()];
    place.well(place.settings(&logins), "the class is Ready with the rights that README lists").await;
    sell(&place, &logins).await;
    doors_are_shut(&place, &logins).await;
    let logins = passwords_rotate(&place, logins).await;
    authority_rotates(&place, &logins).await;
}

/// What the operator does for a campaign, with its own login; an issuer and a consumer with the pods'.
async fn sell(place: &Place, logins: &Logins) {
    let systems = Systems::new(place.settings(logins)).unwrap();
    let campaign = CampaignId::with_default_names(REALM, "tests", "spring").unwrap();
    systems.migrate().await.unwrap();
    for name in [campaign.topic(), campaign.dead_letter_topic()] {
        let spec = TopicSpec { name: name.clone(), partitions: 1, replication_factor: 1, config: BTreeMap::new() };
        systems.kafka.create_topic(&spec).await.unwrap();
        let led = until("a leader", SOON, async || {
            let topics = systems.kafka.describe_topics(&[&name]).await.map_err(|error| error.to_string())?;
            let led = matches!(topics.get(&name), Some(Ok(TopicState::Present(topic))) if topic.has_leaders());
            if led { Ok(()) } else { Err("none".to_owned()) }
        });
        led.await.unwrap();
    }
    let (sql, row) = (&systems.sql, database::register(&systems.sql, &campaign, COUPONS).await.unwrap().id);
    database::set_topic(sql, row, "topic-1", "cluster-1").await.unwrap();
    let epoch = database::allot_epoch(sql, row, 0).await.unwrap();
    let barrier = database::commit_barrier(sql, row, epoch, "topic-1", &BTreeMap::from([(0, 0)])).await.unwrap();
    assert_eq!(barrier, EpochCommit::Done);
    let mut redis = systems.redis().await.unwrap();
    let history = observe(&mut redis, &RedisKeys::of(&campaign)).await.unwrap().history;
    let terms = Terms { total: COUPONS, limit: 1, start_ms: 0, end_ms: i64::MAX / 4096, suspended: false };
    let nobody = Ledger { winners: Vec::new(), free: Vec::new(), highest: 0 };
    let filled = fill(&mut redis, &campaign, "1", &history, epoch, &terms.numbered(1), &nobody).await.unwrap();
    assert_eq!(filled, Filled::Done);
    assert_eq!(database::open_epoch(sql, row, epoch).await.unwrap(), EpochCommit::Done);

    let pods: Connections = systems.settings.workload.clone();
    let (stop, storing) = consume(&campaign, &pods);
    let name = campaign.to_string();
    let at = "127.0.0.1:0";
    let words = ["coupon-issuer", "--campaign", &name, "--listen", at, "--control-listen", at, "--probe-listen", at];
    let config = issuer::config::Cli::try_parse_from(words).unwrap().config.unwrap();
    let token = "a-token-of-the-tests-0123456789".to_owned();
    let issuer = issuer::service::Service::start(&config, &pods, token).await.unwrap();
    let client = IssuerClient::new(&format!("http://{}", issuer.addresses.public), "spring").unwrap();
    let probe = format!("http://{}/readyz", issuer.addresses.probe);
    let ready = until("the issuer is ready", SOON, async || {
        let answer = client.http().get(&probe).send().await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.text().await.unwrap_or_default()) }
    });
    ready.await.unwrap();

    let answers = client.rush(&users("user", 25)).await;
    assert_eq!((count_code(&answers, "ISSUED"), count_code(&answers, "SOLD_OUT")), (20, 5), "{answers:?}");
    let mut told: Vec<(u64, String)> =
        answers.iter().filter_map(|each| each.rank.map(|rank| (rank, each.user.clone()))).collect();
    told.sort();
    assert!(told.iter().map(|(rank, _)| *rank).eq(1..=COUPONS), "{told:?}");
    let pool = connect(&place.connections).await.unwrap();
    let stored = until("rows as people were told", SOON, async || {
        let found = rows(&pool, REALM, "tests", "spring").await.map_err(|error| error.to_string())?.winners;
        if found == told { Ok(()) } else { Err(format!("{found:?}")) }
    });
    stored.await.unwrap();
    stop.cancel();
    storing.await.unwrap().unwrap();
}

type Storing = tokio::task::JoinHandle<Result<(), consumer::service::ServiceError>>;

fn consume(campaign: &CampaignId, connections: &Connections) -> (CancellationToken, Storing) {
    let (metrics, stop) = (Metrics::default(), CancellationToken::new());
    let service = consumer::service::Service {
        campaign: campaign.clone(),
        connections: connections.clone(),
        client_id: "test".to_owned(),
        limits: BatchLimits { rows: 100, wait: Duration::from_millis(20) },
        patience: Patience::default(),
        status: Arc::new(Status::new(campaign, &metrics)),
        metrics,
    };
    (stop.clone(), tokio::spawn(service.run(stop)))
}

type Change = fn(&mut Connections);

/// Wrong: the servers are open, and what was found out on them says nothing.
async fn doors_are_shut(place: &Place, logins: &Logins) {
    let good = place.settings(logins);
    let without_tls: [(System, &str, Change); 3] = [
        (System::Kafka, "KafkaUnreachable", |all| all.kafka.protocol = KafkaProtocol::Plaintext),
        (System::Redis, "RedisUnavailable", |all| all.redis.tls = false),
        (System::Database, "DatabaseAccessDenied", |all| all.database.tls = DatabaseTls::Disabled),
    ];
    let looks = without_tls.map(|(system, _, change)| {
        let mut settings = good.clone();
        change(&mut settings.operator);
        change(&mut settings.workload);
        place.ill(settings, system)
    });
    for ((system, reason, _), (found, text)) in without_tls.iter().zip(futures::future::join_all(looks).await) {
        println!("{system} without TLS: {found}: {text}");
        assert_eq!(found, *reason, "{text}");
    }
    // No more rights than README lists: nobody empties Redis, and the pods remove no row.
    let mut redis = Systems::new(good.clone()).unwrap().redis().await.unwrap();
    let flushed: Result<(), redis::RedisError> = redis::cmd("FLUSHALL").query_async(&mut redis).await;
    assert_eq!(flushed.unwrap_err().code(), Some("NOPERM"));
    let removed =
        sqlx::query("DELETE FROM issued_coupon").execute(&database::connect(&good.workload.database, 1)).await;
    assert!(removed.unwrap_err().to_string().contains("1142"));
}

/// The old password is refused and said to be, and the new one is all that is needed.
async fn passwords_rotate(place: &Place, mut logins: Logins) -> Logins {
    for (system, reason) in [
        (System::Redis, "RedisAuthenticationFailed"),
        (System::Database, "DatabaseAccessDenied"),
        (System::Kafka, "KafkaAuthenticationFailed"),
    ] {
        let before = place.settings(&logins);
        for login in &mut logins {
            let (user, password) = (login.user.clone(), format!("{}-2", login.redis.trim_end_matches("-2")));
            match system {
                System::Redis => login.redis = password.clone(),
                System::Database => login.database = password.clone(),
                System::Kafka => login.kafka = password.clone(),
            }
            let change = move |servers: &Secured| match system {
                System::Redis => servers.administrator.set_redis_password(&user, &password),
                System::Database => servers.administrator.set_database_password(&user, &password),
                System::Kafka => servers.administrator.set_kafka_password(&user, &password),
            };
            place.administer(change).await;
        }
        place.well(place.settings(&logins), "a new password is enough").await;
        let (found, text) = place.ill(before, system).await;
        println!("{system} with the old password: {found}: {text}");
        assert_eq!(found, reason, "{text}");
    }
    logins
}

/// Both authorities are trusted before a server shows a certificate of the new one, and the old one goes last.
async fn authority_rotates(place: &Place, logins: &Logins) {
    let first = place.settings(logins);
    place.administer(|servers| servers.administrator.authority.introduce()).await;
    let both = place.settings(logins);
    place.well(both.clone(), "both are trusted, and servers show the old one's certificate").await;
    place
        .administer(|servers| {
            servers.administrator.authority.reissue()?;
            servers.administrator.show_certificates()?;
            // A broker reads it when it starts.
            servers.kafka.restart()
        })
        .await;
    place.well(both, "both are trusted, and servers show the new one's certificate").await;
    place.administer(|servers| servers.administrator.authority.retire()).await;
    let last = place.settings(logins);
    place.well(last, "only the new one is trusted").await;
    let found = place.measured(first).await;
    for system in [System::Kafka, System::Redis, System::Database] {
        let (reason, text) =
            found.trouble(system).unwrap_or_else(|| panic!("{system} still shows the old one's certificate"));
        println!("{system} with the old authority: {reason}: {text}");
        assert!(text.contains("caSecretRef"), "the field to change: {text}");
    }
}
