//! A broker with logins and ACLs: README's list is enough, and each right that is taken away is named within a look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use coupon_core::names::{KafkaNames, Templates};
use coupon_kafka_admin::{KafkaAdmin, TopicSpec, TopicState};
use coupon_ledger::kafka::client_config;
use coupon_testing::secured_kafka::SecuredKafka;
use operator::api::CampaignClass;
use operator::class::measure::{Measured, System, measure};
use operator::class::pools::Systems;
use stack::secured::brokers::Acl;
use stack::secured::rights;

use crate::stage::{assert_found, assert_well, class, connections};

const TOPIC: &str = "prod.-.probe.coupon-events";
const GROUP: &str = "prod.-.probe.coupon-consumer";
/// Brokers take ACLs in a moment after they are written.
const SOON: Duration = Duration::from_secs(10);

/// Looks until one finds what is wanted: the first, unless the broker has not heard of the change yet.
async fn look_until(systems: &Systems, class: &CampaignClass, wanted: impl Fn(&Measured) -> bool) -> Measured {
    let until = Instant::now() + SOON;
    loop {
        let began = Instant::now();
        let measured = measure(systems, class).await;
        if wanted(&measured) || Instant::now() > until {
            println!("a look took {:?}", began.elapsed());
            return measured;
        }
    }
}

/// How many threads this process has.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Wrong: pods may not write, or read, and the class says Ready; or somebody who did as README says is refused.
#[tokio::test(flavor = "multi_thread")]
async fn each_kafka_right_that_is_missing_is_named_and_the_documented_ones_are_enough() {
    let logins = [("coupon-operator", "operator-word"), ("coupon-pods", "pods-word")];
    let mut broker = SecuredKafka::start(logins).await;
    let documented = rights::kafka("prod", logins[0].0, logins[1].0).unwrap();
    assert_eq!(documented.len(), 11, "{documented:?}");
    broker.add(&documented);
    let mut settings = connections();
    (settings.operator.kafka, settings.workload.kafka) = (broker.settings(logins[0]), broker.settings(logins[1]));
    let systems = Systems::new(settings).unwrap();
    let class: CampaignClass = {
        let mut class = class("acls");
        class["spec"]["realm"] = serde_json::json!("prod");
        serde_json::from_value(class).unwrap()
    };
    let admin = KafkaAdmin::new(&client_config(&broker.admin(), "test", &[])).unwrap();

    // A stranger's topic of that name is named, and left alone.
    let strangers = TopicSpec { name: TOPIC.into(), partitions: 2, replication_factor: 1, config: BTreeMap::new() };
    admin.create_topic(&strangers).await.unwrap();
    let found = look_until(&systems, &class, |found| {
        found.trouble(System::Kafka).is_some_and(|(reason, _)| reason == "TopicNotOurs")
    });
    assert_found(&found.await, System::Kafka, "TopicNotOurs", &[TOPIC, "delete it"], "a stranger's topic");
    let ends = admin.end_offsets(&[(TOPIC, 0), (TOPIC, 1)]).await.unwrap();
    assert!(ends.values().all(|end| *end == Ok(0)), "{ends:?}");
    admin.delete_topic(TOPIC).await.unwrap();
    let well = |found: &Measured| found.findings.is_empty();
    assert_well(&look_until(&systems, &class, well).await, "with the documented ACLs");
    let ends = admin.end_offsets(&[(TOPIC, 0)]).await.unwrap();
    assert!(ends.values().all(|end| matches!(end, Ok(2..))), "a record of each login: {ends:?}");

    let implied = |user: &str, kind: &str, operation: &str| Acl {
        user: user.to_owned(),
        kind: kind.to_owned(),
        prefix: "prod.".to_owned(),
        operation: operation.to_owned(),
        denies: true,
    };
    let denied = [
        implied("coupon-operator", "topic", "Describe"),
        implied("coupon-operator", "topic", "DescribeConfigs"),
        implied("coupon-pods", "topic", "Describe"),
        implied("coupon-pods", "group", "Describe"),
    ];
    for acl in documented.iter().chain(&denied) {
        let what = format!("{acl:?}");
        if acl.denies {
            broker.acls.add(acl).unwrap();
        } else {
            broker.acls.remove(acl).unwrap();
        }
        let troubled = look_until(&systems, &class, |found| !found.findings.is_empty()).await;
        // What is not let through at the first step is said of the rights that include it.
        let operation = match (acl.operation.as_str(), acl.kind.as_str()) {
            ("Describe", "group") => "Read",
            (operation, _) => operation,
        };
        let user = format!("user `{}`", acl.user);
        let object = if acl.kind == "topic" { "topic prod.-." } else { "group prod.-." };
        assert_found(&troubled, System::Kafka, "KafkaNotAuthorized", &[&user, operation, object, "add an ACL"], &what);
        let named = troubled.findings.iter().any(|finding| {
            let text = finding.to_string();
            text.contains(&user) && text.contains(operation) && text.contains(object)
        });
        assert!(named, "{what}: {:?}", troubled.trouble(System::Kafka));
        let others = logins.iter().filter(|(name, _)| *name != acl.user);
        let text = troubled.trouble(System::Kafka).unwrap().1;
        others.for_each(|(name, _)| assert!(!text.contains(name), "{what}: another user is blamed: {text}"));
        println!("{what}: {text}");
        if acl.denies {
            broker.acls.remove(acl).unwrap();
        } else {
            broker.acls.add(acl).unwrap();
        }
        assert_well(&look_until(&systems, &class, well).await, &format!("{what} given back"));
    }

    // A look leaves no thread behind.
    let before = threads();
    for _ in 0..5 {
        assert_well(&measure(&systems, &class).await, "again");
    }
    let until = Instant::now() + SOON;
    while threads() > before + 4 {
        assert!(Instant::now() < until, "{} threads, {before} before five looks", threads());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // It goes with the last class of its realm, and holds nobody up where Kafka is away.
    let there = async || admin.describe_topics(&[TOPIC]).await.unwrap().remove(TOPIC).unwrap().unwrap();
    systems.remove_probed("acls", &BTreeSet::from([TOPIC.to_owned()])).await;
    assert!(matches!(there().await, TopicState::Present(_)), "another class has the same names");
    systems.remove_probed("acls", &BTreeSet::new()).await;
    let until = Instant::now() + SOON;
    while there().await != TopicState::Absent {
        assert!(Instant::now() < until, "the topic stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let group = admin.committed_offsets(GROUP, TOPIC, 1).await.unwrap();
    assert_eq!(group, BTreeMap::from([(0, None)]), "its group is gone as well");
    broker.kill();
    let began = Instant::now();
    systems.remove_probed("acls", &BTreeSet::new()).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// Wrong: ACLs are for the names that the class gives, its looks use others, and it is never Ready; or its topic of looks stays.
#[tokio::test(flavor = "multi_thread")]
async fn looks_keep_to_the_names_that_the_class_gives() {
    let logins = [("coupon-operator", "operator-word"), ("coupon-pods", "pods-word")];
    let mut broker = SecuredKafka::start(logins).await;
    // README's, with the beginning of these names in place of the realm's.
    let documented = rights::kafka("acme", logins[0].0, logins[1].0).unwrap();
    broker.add(&documented);
    let own = KafkaNames::new(Templates {
        topic: "acme.coupons.{namespace}.{couponId}".to_owned(),
        dead_letter_topic: "{topic}.dlq".to_owned(),
        consumer_group: "acme.readers.{namespace}.{couponId}".to_owned(),
    })
    .unwrap();
    let looking_as = |names: &KafkaNames| {
        let mut settings = connections();
        (settings.operator.kafka, settings.workload.kafka) = (broker.settings(logins[0]), broker.settings(logins[1]));
        (settings.operator.kafka_names, settings.workload.kafka_names) = (names.clone(), names.clone());
        let mut class = class("named");
        class["spec"]["realm"] = serde_json::json!("prod");
        class["spec"]["kafka"]["names"] = serde_json::to_value(names).unwrap();
        (Systems::new(settings).unwrap(), serde_json::from_value::<CampaignClass>(class).unwrap())
    };
    let (systems, class) = looking_as(&own);
    assert_well(&look_until(&systems, &class, |found| found.findings.is_empty()).await, "as the ACLs are");
    let admin = KafkaAdmin::new(&client_config(&broker.admin(), "test", &[])).unwrap();
    let name = "acme.coupons.-.probe";
    let there = async || admin.describe_topics(&[name]).await.unwrap().remove(name).unwrap().unwrap();
    assert!(matches!(there().await, TopicState::Present(_)));
    systems.remove_probed("named", &BTreeSet::new()).await;
    let until = Instant::now() + SOON;
    while there().await != TopicState::Absent {
        assert!(Instant::now() < until, "the topic stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (systems, class) = looking_as(&KafkaNames::default());
    let found = measure(&systems, &class).await;
    assert_found(&found, System::Kafka, "KafkaNotAuthorized", &["topic prod.-."], "the usual names");
}

/// Wrong: where the Kafka team makes the topics no class is ever Ready, and nothing opens.
#[tokio::test(flavor = "multi_thread")]
async fn a_class_whose_topics_somebody_else_makes_is_well_without_the_right_to() {
    let logins = [("coupon-operator", "operator-word"), ("coupon-pods", "pods-word")];
    let mut broker = SecuredKafka::start(logins).await;
    let documented = rights::kafka("prod", logins[0].0, logins[1].0).unwrap();
    let managing = ["Create", "Alter", "AlterConfigs", "Delete"];
    let is_managing =
        |acl: &Acl| acl.user == "coupon-operator" && acl.kind == "topic" && managing.contains(&acl.operation.as_str());
    broker.add(documented.iter().filter(|acl| !is_managing(acl)));
    // What the others include.
    broker
        .acls
        .add(&Acl {
            user: "coupon-operator".to_owned(),
            kind: "topic".to_owned(),
            prefix: "prod.".to_owned(),
            operation: "DescribeConfigs".to_owned(),
            denies: false,
        })
        .unwrap();
    let mut settings = connections();
    (settings.operator.kafka, settings.workload.kafka) = (broker.settings(logins[0]), broker.settings(logins[1]));
    let systems = Systems::new(settings).unwrap();
    let class = |create_topics: bool| -> CampaignClass {
        let mut class = class("others");
        class["spec"]["realm"] = serde_json::json!("prod");
        class["spec"]["kafka"]["createTopics"] = create_topics.into();
        serde_json::from_value(class).unwrap()
    };
    let refused = |found: &Measured| found.trouble(System::Kafka).is_some();
    assert_found(
        &look_until(&systems, &class(true), refused).await,
        System::Kafka,
        "KafkaNotAuthorized",
        &["user `coupon-operator`", "Create"],
        "the operator is to make topics, and may not",
    );
    let well = |found: &Measured| found.findings.is_empty();
    let found = look_until(&systems, &class(false), well).await;
    assert_well(&found, "somebody else makes them");
    let said = format!("{:?}", found.reports());
    let wanted = format!("topic {TOPIC} (partitions=1 replication-factor=1 retention.ms=3600000 segment.ms=3600000;");
    assert!(said.contains(&wanted), "{said}");

    // As it says.
    let admin = KafkaAdmin::new(&client_config(&broker.admin(), "test", &[])).unwrap();
    let hour = |key: &str| (key.to_owned(), "3600000".to_owned());
    let config = BTreeMap::from([hour("retention.ms"), hour("segment.ms")]);
    let spec = TopicSpec { name: TOPIC.into(), partitions: 1, replication_factor: 1, config };
    admin.create_topic(&spec).await.unwrap();
    let until = Instant::now() + SOON;
    loop {
        assert_well(&look_until(&systems, &class(false), well).await, "with a topic to try records on");
        let ends = admin.end_offsets(&[(TOPIC, 0)]).await.unwrap();
        if ends.values().all(|end| matches!(end, Ok(2..))) {
            break;
        }
        assert!(Instant::now() < until, "a record of each login: {ends:?}");
    }
}
