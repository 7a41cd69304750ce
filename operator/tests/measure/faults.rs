//! Servers with settings and rights that cannot work.

use coupon_core::identity::CampaignId;
use coupon_kafka_admin::TopicState;
use coupon_ledger::database::{self, Fault};
use operator::class::measure::System;
use operator::class::pools::Systems;
use redis::aio::MultiplexedConnection;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, raw_sql};

use crate::fake::{INFO, Says};
use crate::stage::{assert_found, assert_well, class, connections, database, look, redis};

async fn run(connection: &mut MultiplexedConnection, line: &str) {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query_async::<redis::Value>(connection).await.unwrap_or_else(|error| panic!("{line}: {error}"));
}

/// Wrong: a class says Ready on a Redis that no campaign can be sold on, or that loses winners.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_redis_cannot_do_is_said_before_a_sale_meets_it() {
    let server = tokio::task::spawn_blocking(stack::services::Redis::start).await.unwrap().unwrap();
    let mut settings = connections();
    (settings.operator.redis, settings.workload.redis) = (redis(&server.url()), redis(&server.workload_url()));
    let class = class("redis");
    assert_well(&look(&settings, &class).await, "at first");
    let mut admin = coupon_ledger::redis::connect::connect(&settings.operator.redis, std::time::Duration::from_secs(5))
        .await
        .unwrap();
    let pods = settings.workload.redis.login.username.clone();
    let named = format!("user `{pods}`");
    for (break_it, mend_it, reason, says) in [
        (
            format!("ACL SETUSER {pods} -info"),
            format!("ACL SETUSER {pods} +info"),
            "RedisRightMissing",
            vec!["INFO", &named, "pods' login"],
        ),
        (
            format!("ACL SETUSER {pods} -ltrim -zadd"),
            format!("ACL SETUSER {pods} +ltrim +zadd"),
            "RedisRightMissing",
            vec!["ZADD, LTRIM", &named],
        ),
        (
            format!("ACL SETUSER {pods} -evalsha"),
            format!("ACL SETUSER {pods} +evalsha"),
            "RedisRightMissing",
            vec!["evalsha", &named],
        ),
        (
            format!("ACL SETUSER {pods} -time"),
            format!("ACL SETUSER {pods} +time"),
            "RedisRightMissing",
            vec!["TIME", &named],
        ),
        (
            format!("ACL SETUSER {pods} resetkeys ~cart:*"),
            format!("ACL SETUSER {pods} resetkeys ~coupon:*"),
            "RedisRightMissing",
            vec!["coupon:*", &named],
        ),
        (
            format!("ACL SETUSER {pods} resetpass >another"),
            format!("ACL SETUSER {pods} resetpass >{}", settings.workload.redis.login.password),
            "RedisAuthenticationFailed",
            vec!["with the pods' login", "redis-password"],
        ),
        (
            "CONFIG SET maxmemory-policy allkeys-lru".into(),
            "CONFIG SET maxmemory-policy noeviction".into(),
            "RedisEvictionPolicy",
            vec!["allkeys-lru", "noeviction"],
        ),
        (
            "CONFIG SET min-replicas-to-write 1".into(),
            "CONFIG SET min-replicas-to-write 0".into(),
            "RedisTooFewReplicas",
            vec!["NOREPLICAS", "min-replicas-to-write"],
        ),
        ("CONFIG SET maxmemory 1".into(), "CONFIG SET maxmemory 0".into(), "RedisOutOfMemory", vec!["maxmemory"]),
        ("REPLICAOF 127.0.0.1 1".into(), "REPLICAOF NO ONE".into(), "RedisReadOnly", vec!["replica", "primary"]),
    ] {
        run(&mut admin, &break_it).await;
        assert_found(&look(&settings, &class).await, System::Redis, reason, &says, &break_it);
        run(&mut admin, &mend_it).await;
        assert_well(&look(&settings, &class).await, &mend_it);
    }
    let left: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut admin).await.unwrap();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Wrong: a class says Ready on a server that is none of what the scripts need, and campaigns show errors of Lua.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_redis_7_alone_is_told_by_what_it_says_of_itself() {
    let without = |line: &str| INFO.replace(line, "");
    let cluster = INFO.replace("standalone", "cluster");
    for (info, nodes, found) in [
        (INFO.to_owned(), "", None),
        (INFO.replace("7.2.0", "6.2.14"), "", Some(("RedisTooOld", "Redis 6.2.14"))),
        (INFO.replace("role:master", "role:slave"), "", Some(("RedisReadOnly", "replica"))),
        (without("run_id:ab\r\n"), "", Some(("RedisIdentityMissing", "run_id"))),
        (without("master_replid:cd\r\n"), "", Some(("RedisIdentityMissing", "master_replid"))),
        (INFO.replace("noeviction", "allkeys-random"), "", Some(("RedisEvictionPolicy", "allkeys-random"))),
        (INFO.replace("noeviction", "volatile-lru"), "", None),
        (
            cluster.clone(),
            "cluster_size:2\r\ncluster_slots_ok:16384\r\n",
            Some(("RedisClusterUnsupported", "single primary")),
        ),
        (cluster, "cluster_size:1\r\ncluster_slots_ok:16384\r\n", None),
    ] {
        let settings = Says { cluster: nodes.to_owned(), ..Says::info(&info) }.serve().await;
        let measured = look(&settings, &class("fake")).await;
        match found {
            None => assert_well(&measured, &info),
            Some((reason, says)) => assert_found(&measured, System::Redis, reason, &[says], &info),
        }
    }
}

/// Wrong: the pods cannot store anything, and the class says Ready since the operator can.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_database_does_not_let_us_do_is_said_with_user_and_table() {
    let server = tokio::task::spawn_blocking(stack::services::MariaDb::start).await.unwrap().unwrap();
    let root = MySqlConnectOptions::new().socket(server.socket()).username("root");
    let root = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(root);
    let as_root = async |sql: &str| {
        raw_sql(AssertSqlSafe(sql.to_owned())).execute(&root).await.unwrap();
    };
    let mut settings = connections();
    settings.operator.database = database(&server.url());
    settings.workload.database = database(&server.workload_url());
    let class = class("database");
    assert_well(&look(&settings, &class).await, "at first");
    let name = settings.operator.database.name.clone();
    let pods = settings.workload.database.login.username.clone();
    let password = settings.workload.database.login.password.clone();
    let operator = settings.operator.database.login.username.clone();
    let revoke = |what: &str| format!("REVOKE {what} ON `{name}`.* FROM '{pods}'@'%'");
    let grant = |what: &str| format!("GRANT {what} ON `{name}`.* TO '{pods}'@'%'");
    for (break_it, mend_it, reason, says) in [
        (
            revoke("INSERT"),
            grant("INSERT"),
            "DatabaseAccessDenied",
            vec!["INSERT command denied", "issued_coupon", &pods, "pods' login"],
        ),
        (
            revoke("UPDATE"),
            grant("UPDATE"),
            "DatabaseAccessDenied",
            vec!["UPDATE command denied", "issued_coupon", &pods],
        ),
        (revoke("SELECT"), grant("SELECT"), "DatabaseAccessDenied", vec!["SELECT command denied", "campaign", &pods]),
        (
            format!("REVOKE UPDATE ON `{name}`.* FROM '{operator}'@'%'"),
            format!("GRANT ALL ON `{name}`.* TO '{operator}'@'%'"),
            "DatabaseAccessDenied",
            vec!["UPDATE command denied", "operator's login", "this right (README"],
        ),
        (
            "SET GLOBAL read_only = 1".into(),
            "SET GLOBAL read_only = 0".into(),
            "DatabaseReadOnly",
            vec!["read_only is on", "primary"],
        ),
        (
            format!("ALTER TABLE `{name}`.issued_coupon DROP KEY issued_coupon_user"),
            format!(
                "ALTER TABLE `{name}`.issued_coupon ADD UNIQUE KEY issued_coupon_user (campaign_id, user_id, user_nth)"
            ),
            "DatabaseKeyMissing",
            vec!["issued_coupon (campaign_id, user_id, user_nth)", "0001_ledger.sql"],
        ),
        (
            format!("ALTER USER '{pods}'@'%' IDENTIFIED BY 'another'"),
            format!("ALTER USER '{pods}'@'%' IDENTIFIED BY '{password}'"),
            "DatabaseAccessDenied",
            vec!["Access denied", "pods' login", "database-password"],
        ),
    ] {
        as_root(&break_it).await;
        assert_found(&look(&settings, &class).await, System::Database, reason, &says, &break_it);
        as_root(&mend_it).await;
        assert_well(&look(&settings, &class).await, &mend_it);
    }
    let left: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT COUNT(*) FROM `{name}`.issued_coupon")))
        .fetch_one(&root)
        .await
        .unwrap();
    assert_eq!(left, 0, "left behind");
}

/// Wrong: a database that came back without its tables, or with those of an older version, waits for the next operator.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_gone_are_made_anew_without_a_restart() {
    let server = tokio::task::spawn_blocking(stack::services::MariaDb::start).await.unwrap().unwrap();
    let root = MySqlConnectOptions::new().socket(server.socket()).username("root");
    let root = MySqlPoolOptions::new().max_connections(1).connect_lazy_with(root);
    let mut settings = connections();
    settings.operator.database = database(&server.url());
    settings.workload.database = database(&server.workload_url());
    let name = settings.operator.database.name.clone();
    let systems = Systems::new(settings).unwrap();
    systems.migrate().await.unwrap();
    let campaign = CampaignId::with_default_names("measure", "shop", "gone").unwrap();
    assert_eq!(database::find(&systems.sql, &campaign).await.unwrap(), None);
    let gone = format!(
        "USE `{name}`; SET FOREIGN_KEY_CHECKS = 0; DROP TABLE campaign, issued_coupon, epoch_barrier, drained, discarded_coupon, discarded_record, direct_coupon, forgotten_coupon, \
         schema_compatibility, _sqlx_migrations"
    );
    raw_sql(AssertSqlSafe(gone)).execute(&root).await.unwrap();
    assert_eq!(database::find(&systems.sql, &campaign).await.unwrap_err().fault(), Fault::Schema);
    systems.migrate().await.unwrap();
    assert_eq!(database::find(&systems.sql, &campaign).await.unwrap(), None);
}

/// Wrong: a class is Ready, and its first campaign finds that no topic can be made.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_could_not_be_made_are_said_and_none_is_made() {
    let settings = connections();
    let systems = Systems::new(settings.clone()).unwrap();
    let topic = async || {
        let name = "refused.-.probe.coupon-events";
        systems.kafka.describe_topics(&[name]).await.unwrap().remove(name).unwrap().unwrap()
    };
    let class = |name: &str| {
        let mut class = class(name);
        class["spec"]["realm"] = serde_json::json!("refused");
        class
    };
    for (change, reason, says) in [
        (
            serde_json::json!({"replicationFactor": 9, "minInSyncReplicas": 2, "allowLowerReplication": false}),
            "InvalidReplication",
            vec!["replicationFactor is 9"],
        ),
        (serde_json::json!({"topicConfig": {"segment.bytes": "a few"}}), "InvalidTopicConfig", vec!["segment.bytes"]),
        (
            serde_json::json!({"topicConfig": {"compression.type": "middle-out"}}),
            "InvalidTopicConfig",
            vec!["middle-out", "producer"],
        ),
    ] {
        let mut class = class("kafka");
        for (key, value) in change.as_object().unwrap() {
            class["spec"]["kafka"][key] = value.clone();
        }
        assert_eq!(topic().await, TopicState::Absent);
        assert_found(&look(&settings, &class).await, System::Kafka, reason, &says, &change.to_string());
    }
    assert_well(&look(&settings, &class("kafka")).await, "as it should be");
    let TopicState::Present(made) = topic().await else { panic!("records were not tried") };
    assert_eq!(made.partitions.len(), 1);
    systems.kafka.delete_topic("refused.-.probe.coupon-events").await.unwrap();
}
