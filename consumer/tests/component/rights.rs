//! Rights that only rare commands need are looked for before anything is changed. On servers of its own, with the rights that README lists.

use std::time::{Duration, Instant};

use coupon_core::connections::{Connections, Login};
use coupon_core::event::CouponIssued;
use coupon_core::identity::UserId;
use coupon_ledger::database;
use coupon_ledger::redis::{RedisKeys, connect, read_winners};
use coupon_testing::secured_kafka::SecuredKafka;
use coupon_testing::servers;
use serde_json::Value;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use stack::secured::brokers::Acl;
use stack::secured::rights::{self, Who};
use stack::services;

use crate::replay::{program, redis_holds, results};
use crate::stage::{PATIENCE, Stage};

const PODS: &str = "coupon-pods";
const PASSWORD: &str = "PASSWORD";
/// Takes ACLs in a moment after they are written.
const PAUSE: Duration = Duration::from_millis(100);

/// Servers, and a person who can be forgotten there: a row, a grant in Redis, and a dead letter.
struct Scene {
    stage: Stage,
    pods: Connections,
    redis: redis::aio::MultiplexedConnection,
    root: MySqlPool,
    broker: SecuredKafka,
    _servers: (services::Redis, services::MariaDb),
}

impl Scene {
    async fn new() -> Self {
        let broker = SecuredKafka::start([(PODS, PASSWORD)]).await;
        let starting = || (services::Redis::start().unwrap(), services::MariaDb::start().unwrap());
        let servers = tokio::task::spawn_blocking(starting).await.unwrap();
        let connections = Connections {
            kafka: broker.admin(),
            redis: servers::redis(&servers.0.url()),
            database: servers::database(&servers.1.url()),
            kafka_names: Default::default(),
        };
        let root = MySqlConnectOptions::new().socket(servers.1.socket()).username("root");
        let root = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(root);
        let redis = connect::connect(&connections.redis, Duration::from_secs(10)).await.unwrap();
        let mut pods = connections.clone();
        pods.kafka = broker.settings((PODS, PASSWORD));
        for login in [&mut pods.redis.login, &mut pods.database.login] {
            *login = Login { username: PODS.to_owned(), password: PASSWORD.to_owned() };
        }
        let stage = Stage::on(connections, 1).await;
        stage.create_topic(&stage.campaign.dead_letter_topic()).await;
        let mut scene = Self { stage, pods, redis, root, broker, _servers: servers };
        let documented = rights::kafka("test", "coupon-operator", PODS).unwrap();
        scene.broker.add(documented.iter().filter(|acl| acl.user == PODS));
        let documented = rights::redis(Who::Pods).unwrap();
        scene.redis(&format!("ACL SETUSER {PODS} on >{PASSWORD} {documented}")).await;
        // As where a careful administrator grants table by table what a sale needs.
        let name = scene.pods.database.name.clone();
        scene.sql(&format!("CREATE USER '{PODS}'@'%' IDENTIFIED BY '{PASSWORD}'")).await;
        scene.sql(&format!("GRANT SELECT, INSERT ON {name}.* TO '{PODS}'@'%'")).await;
        for table in ["issued_coupon", "direct_coupon", "forgotten_coupon"] {
            scene.sql(&format!("GRANT UPDATE ON {name}.{table} TO '{PODS}'@'%'")).await;
        }
        let anna = CouponIssued { user_id: UserId::new("anna").unwrap(), ..scene.stage.winner(1) };
        redis_holds(&scene.stage, 1, std::slice::from_ref(&anna)).await;
        let direct = CouponIssued { epoch: 0, ..anna.clone() };
        database::store(&scene.stage.pool, scene.stage.row, database::StoreMode::Direct(&[direct])).await.unwrap();
        scene.stage.publish_to_dead_letters(&anna).await;
        scene
    }

    async fn redis(&mut self, line: &str) {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query_async::<redis::Value>(&mut self.redis).await.unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    async fn sql(&self, statement: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&self.root).await.unwrap();
    }

    fn may_delete_records(&mut self) {
        let acl = Acl {
            user: PODS.to_owned(),
            kind: "topic".to_owned(),
            prefix: "test.".to_owned(),
            operation: "Delete".to_owned(),
            denies: false,
        };
        self.broker.add([&acl]);
    }

    /// Who has the coupon: by the row, by Redis; and how many letters name anna.
    async fn named(&mut self) -> (String, String, usize) {
        let stage = &self.stage;
        let rows = database::read_rows(&stage.pool, &stage.campaign, stage.row, 0, 10).await.unwrap();
        let held = read_winners(&mut self.redis, &RedisKeys::of(&stage.campaign), 0, 10).await.unwrap();
        let topic = stage.campaign.dead_letter_topic();
        let starts = stage.admin.start_offsets(&[(topic.as_str(), 0)]).await.unwrap();
        let first = *starts.values().next().unwrap().as_ref().unwrap();
        let letters = usize::try_from(stage.ends(&topic).await[&0] - first).unwrap();
        (rows[0].user_id.to_string(), held[0].user.to_string(), letters)
    }

    /// As the pods' login, until it is said of this many systems that rights are missing.
    async fn run(&self, arguments: &str, missing: usize) -> (i32, Value) {
        let until = Instant::now() + PATIENCE;
        loop {
            let (code, said) = program(&self.stage, &self.pods, arguments).await;
            let found = said["missingRights"].as_array().map_or(0, Vec::len);
            if found == missing || Instant::now() > until {
                return (code, said);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Wrong: the database names nobody any more, Redis and the letters still do, and no sentence says which right is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named_before_anything_is_changed() {
    let mut scene = Scene::new().await;
    let before = scene.named().await;
    assert_eq!(before, ("anna".to_owned(), "anna".to_owned(), 1));
    let dlt = scene.stage.campaign.dead_letter_topic();
    let redis = ("Redis", "run ZREM, HDEL".to_owned());
    let database = ("the database", "use its tables".to_owned());
    let kafka = ("Kafka", format!("Delete topic {dlt}"));
    let name = scene.pods.database.name.clone();
    for (step, grant) in ["nothing", "database", "redis"].into_iter().enumerate() {
        match grant {
            "database" => scene.sql(&format!("GRANT UPDATE ON {name}.* TO '{PODS}'@'%'")).await,
            "redis" => scene.redis(&format!("ACL SETUSER {PODS} +zrem +hdel")).await,
            _ => {}
        }
        let expected = match step {
            0 => vec![kafka.clone(), redis.clone(), database.clone()],
            1 => vec![kafka.clone(), redis.clone()],
            _ => vec![kafka.clone()],
        };
        for more in ["--dry-run", "", "--everywhere"] {
            let (code, said) = scene.run(&format!("forget --user anna --while-open {more}"), expected.len()).await;
            let found = said["missingRights"].as_array().unwrap();
            let told: Vec<(&str, String)> = found
                .iter()
                .map(|each| (each["system"].as_str().unwrap(), each["right"].as_str().unwrap().to_owned()))
                .collect();
            assert_eq!((code, told), (3, expected.clone()), "{grant} {more}: {said}");
            assert!(found.iter().all(|each| each["user"] == PODS), "{said}");
            if step == 0 {
                let sql = found[2]["text"].as_str().unwrap();
                assert!(
                    sql.contains("UPDATE") && sql.contains("campaign") && sql.contains("discarded_coupon"),
                    "{sql}"
                );
            }
            assert_eq!(scene.named().await, before, "{grant} {more}: nothing was done");
        }
    }
    // Letters, too: what is asked for can be done, or nothing is.
    for arguments in ["replay --trim", "replay --trim --dry-run", "replay --trim --discard 0:0"] {
        let (code, said) = scene.run(&format!("dead-letters {arguments}"), 1).await;
        assert_eq!((code, said["missingRights"][0]["right"].as_str()), (3, Some(kafka.1.as_str())), "{said}");
        assert_eq!(scene.named().await, before);
    }
    for arguments in ["replay", "replay --discard 0:0"] {
        let (code, said) = scene.run(&format!("dead-letters {arguments}"), 0).await;
        assert_eq!((code, results(&said)), (0, vec!["AlreadyStored"]), "without --trim that right is not needed");
    }

    scene.may_delete_records();
    let (code, done) = scene.run("forget --user anna --while-open", 0).await;
    let pseudonym = done["campaigns"][0]["pseudonyms"][0].as_str().unwrap_or_else(|| panic!("{done}")).to_owned();
    assert_eq!((code, scene.named().await), (0, (pseudonym.clone(), pseudonym, 1)));
}
