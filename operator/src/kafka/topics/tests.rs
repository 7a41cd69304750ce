use coupon_kafka_admin::{ConfigSource, Partition};

use super::*;

fn campaign() -> CampaignId {
    CampaignId::with_default_names("prod", "shop", "spring").unwrap()
}

fn kafka(allow_lower: bool) -> api::Kafka {
    api::Kafka {
        bootstrap_servers: vec!["k:9092".into()],
        security: api::KafkaSecurity { protocol: api::KafkaProtocol::Plaintext, mechanism: None, ca_secret_ref: None },
        replication_factor: 3,
        min_in_sync_replicas: 2,
        allow_lower_replication: allow_lower,
        create_topics: true,
        retention_hours: 168,
        dead_letter_retention_hours: None,
        names: api::KafkaNames::default(),
        topic_config: BTreeMap::new(),
    }
}

fn topic(id: &str, partitions: i32) -> TopicState {
    let partition = |id| Partition { id, leader: Some(1), replicas: vec![1, 2, 3], isr: vec![1, 2, 3] };
    TopicState::Present(Topic { topic_id: id.into(), partitions: (0..partitions).map(partition).collect() })
}

fn set(config: BTreeMap<String, String>) -> BTreeMap<String, ConfigEntry> {
    let entry = |value| ConfigEntry { value: Some(value), source: ConfigSource::Topic, read_only: false };
    config.into_iter().map(|(key, value)| (key, entry(value))).collect()
}

fn view(events: TopicState, dead_letters: TopicState) -> TopicView {
    TopicView {
        cluster_id: "c1".into(),
        brokers: 3,
        used: matches!(events, TopicState::Present(_)).then_some(false),
        dead_letters_used: matches!(dead_letters, TopicState::Present(_)).then_some(false),
        events,
        dead_letters,
        events_config: set(config(&kafka(false), 2, false)),
        dead_letters_config: set(config(&kafka(false), 2, true)),
    }
}

fn plan_for(claim: TopicClaim, view: &TopicView) -> Result<Vec<TopicStep>, TopicConflict> {
    plan(&campaign(), &kafka(false), 3, &claim, Some("c1"), view, None)
}

#[test]
fn a_new_campaign_announces_before_it_creates() {
    let steps = plan_for(TopicClaim::None, &view(TopicState::Absent, TopicState::Absent)).unwrap();
    assert!(matches!(
        steps.as_slice(),
        [TopicStep::Announce, TopicStep::Create(both)] if matches!(both.as_slice(), [dlt, events]
            if dlt.name.ends_with(".DLT") && events.partitions == 3 && events.replication_factor == 3)
    ));
}

#[test]
fn a_topic_that_we_did_not_create_is_not_touched() {
    for (claim, found) in [
        (TopicClaim::None, view(topic("t1", 3), TopicState::Absent)),
        (TopicClaim::None, view(TopicState::Absent, topic("d1", 3))),
        (TopicClaim::Announced, TopicView { used: Some(true), ..view(topic("t1", 3), TopicState::Absent) }),
    ] {
        assert!(matches!(plan_for(claim, &found), Err(TopicConflict::NotOurs { .. })));
    }
    let replaced = plan_for(TopicClaim::Owned("t0".into()), &view(topic("t1", 3), topic("d1", 3)));
    assert!(matches!(replaced, Err(TopicConflict::Replaced { .. })));
}

#[test]
fn a_crash_between_creating_and_recording_is_finished() {
    let steps = plan_for(TopicClaim::Announced, &view(topic("t1", 3), topic("d1", 3))).unwrap();
    assert_eq!(steps, [TopicStep::Record("t1".into())]);
}

#[test]
fn nothing_to_do_means_no_step() {
    assert_eq!(plan_for(TopicClaim::Owned("t1".into()), &view(topic("t1", 3), topic("d1", 3))), Ok(vec![]));
    // More partitions than asked for is not a difference: Kafka cannot take them away.
    assert_eq!(plan_for(TopicClaim::Owned("t1".into()), &view(topic("t1", 5), topic("d1", 5))), Ok(vec![]));
}

#[test]
fn drift_is_put_back_key_by_key() {
    let mut found = view(topic("t1", 3), topic("d1", 3));
    found.events_config.get_mut("retention.ms").unwrap().value = Some("1".into());
    found.events_config.insert("segment.ms".into(), found.events_config["retention.ms"].clone());
    let steps = plan_for(TopicClaim::Owned("t1".into()), &found).unwrap();
    let set = BTreeMap::from([("retention.ms".to_owned(), "604800000".to_owned())]);
    assert_eq!(
        steps,
        [TopicStep::Configure { topic: campaign().topic(), set }],
        "keys that we do not set stay as they are"
    );
}

#[test]
fn both_topics_grow() {
    let steps = plan_for(TopicClaim::Owned("t1".into()), &view(topic("t1", 2), topic("d1", 1))).unwrap();
    assert_eq!(steps.len(), 2);
    assert!(steps.iter().all(|step| matches!(step, TopicStep::Grow { partitions: 3, .. })));
}

#[test]
fn another_cluster_is_no_place_to_go_on() {
    let moved = plan(
        &campaign(),
        &kafka(false),
        3,
        &TopicClaim::Owned("t1".into()),
        Some("c0"),
        &view(TopicState::Absent, TopicState::Absent),
        None,
    );
    assert!(matches!(moved, Err(TopicConflict::Moved { .. })));
}

#[test]
fn replication_is_lowered_only_where_the_class_allows_it() {
    for (allow, brokers, factor, min, lowered) in [
        (false, 1, 3, 2, false), // Kafka will refuse, and the condition will say so
        (true, 1, 1, 1, true),
        (true, 2, 2, 1, true),
        (true, 3, 3, 2, false),
        (true, 5, 3, 2, false),
    ] {
        let expected = Replication { factor, min_in_sync: min, lowered };
        assert_eq!(replication(&kafka(allow), brokers), expected, "{brokers} brokers, allowed: {allow}");
    }
}

#[test]
fn dead_letters_do_not_expire() {
    assert_eq!(config(&kafka(false), 2, true)["retention.ms"], "-1");
    assert_eq!(config(&kafka(false), 2, false)["retention.ms"], "604800000");
    let limited = api::Kafka { dead_letter_retention_hours: Some(2), ..kafka(false) };
    assert_eq!(config(&limited, 2, true)["retention.ms"], "7200000", "unless the class says so");
}

/// Wrong: a record that just fitted into the topic never fits into the dead-letter topic, and holds its partition for ever.
#[test]
fn the_dead_letter_topic_takes_what_the_topic_takes_and_more() {
    for (asked, topic, dead) in [
        (None, "1048588", "1114124"),
        (Some("5000000"), "5000000", "5065536"),
        (Some("2147483647"), "2147483647", "2147483647"),
        (Some("much"), "much", "much"),
    ] {
        let mut class = kafka(false);
        class.topic_config.extend(asked.map(|bytes| ("max.message.bytes".to_owned(), bytes.to_owned())));
        assert_eq!(config(&class, 2, false)["max.message.bytes"], topic);
        assert_eq!(config(&class, 2, true)["max.message.bytes"], dead);
    }
}

/// Wrong: brokers with a codec of their own recompress every record.
#[test]
fn records_stay_as_they_were_produced_unless_the_class_says_otherwise() {
    for (asked, expected) in [(None, "producer"), (Some("zstd"), "zstd")] {
        let mut kafka = kafka(false);
        kafka.topic_config.extend(asked.map(|codec| ("compression.type".to_owned(), codec.to_owned())));
        for dead_letters in [false, true] {
            assert_eq!(config(&kafka, 2, dead_letters).get("compression.type").unwrap(), expected, "{asked:?}");
        }
    }
}

/// Wrong: a managed broker refuses a key whatever its value, and no topic can be made though it would be as it should be by itself.
#[test]
fn what_kafka_makes_of_a_topic_by_itself_is_not_asked_for() {
    let sent = |kafka: &api::Kafka, dead| -> Vec<String> {
        let sent = creation(config(kafka, kafka.min_in_sync_replicas.into(), dead));
        sent.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
    };
    assert_eq!(sent(&kafka(false), false), ["min.insync.replicas=2"]);
    assert_eq!(sent(&kafka(false), true), ["max.message.bytes=1114124", "min.insync.replicas=2", "retention.ms=-1"]);
    let other = api::Kafka { min_in_sync_replicas: 1, retention_hours: 24, ..kafka(true) };
    assert_eq!(sent(&other, false), ["retention.ms=86400000"]);

    // It is the brokers' own default, or somebody set it: all that counts is what it is.
    let found = |key: &str, value: &str, source| {
        let mut view = view(topic("t1", 3), topic("d1", 3));
        view.events_config.insert(key.to_owned(), ConfigEntry { value: Some(value.into()), source, read_only: false });
        plan_for(TopicClaim::Owned("t1".into()), &view).unwrap()
    };
    for source in [ConfigSource::Topic, ConfigSource::Broker, ConfigSource::Default] {
        assert_eq!(found("unclean.leader.election.enable", "false", source), []);
        let set = BTreeMap::from([("unclean.leader.election.enable".to_owned(), "false".to_owned())]);
        let expected = [TopicStep::Configure { topic: campaign().topic(), set }];
        assert_eq!(found("unclean.leader.election.enable", "true", source), expected);
    }
}

/// Wrong: the codec that somebody chose for a topic is taken back, with a right that nobody may have; or one that nobody chose for it costs
/// every record a recompression.
#[test]
fn a_codec_stays_as_it_was_chosen() {
    for (create_topics, class, source, expected) in [
        (true, None, ConfigSource::Topic, None),
        (true, None, ConfigSource::Broker, Some("producer")),
        (true, Some("lz4"), ConfigSource::Topic, Some("lz4")),
        (true, Some("zstd"), ConfigSource::Topic, None),
        (false, None, ConfigSource::Topic, None),
        (false, None, ConfigSource::Broker, None),
        (false, Some("lz4"), ConfigSource::Broker, Some("lz4")),
    ] {
        let mut kafka = api::Kafka { create_topics, ..kafka(false) };
        kafka.topic_config.extend(class.map(|codec| ("compression.type".to_owned(), codec.to_owned())));
        let mut view = view(topic("t1", 3), topic("d1", 3));
        let zstd = ConfigEntry { value: Some("zstd".into()), source, read_only: false };
        view.events_config.insert("compression.type".to_owned(), zstd.clone());
        view.dead_letters_config.insert("compression.type".to_owned(), zstd);
        let steps = plan(&campaign(), &kafka, 3, &TopicClaim::Owned("t1".into()), Some("c1"), &view, None).unwrap();
        let set = |topic| {
            let codec = expected.map(|codec| BTreeMap::from([("compression.type".to_owned(), codec.to_owned())]));
            codec.map(|set| TopicStep::Configure { topic, set })
        };
        let expected: Vec<TopicStep> =
            [campaign().topic(), campaign().dead_letter_topic()].into_iter().filter_map(set).collect();
        assert_eq!(steps, expected, "{create_topics} {class:?} {source:?}");
    }
}

/// Wrong: whoever may not make topics has no way at all; or a topic that somebody uses becomes ours.
#[test]
fn an_empty_topic_that_people_name_by_its_id_is_used() {
    let adopt = |claim, view: &TopicView, id| plan(&campaign(), &kafka(false), 3, &claim, Some("c1"), view, Some(id));
    let both = view(topic("t1", 3), topic("d1", 3));
    let owned = || TopicClaim::Owned("t0".into());
    assert_eq!(adopt(TopicClaim::None, &both, "t1"), Ok(vec![TopicStep::Record("t1".into())]));
    assert_eq!(adopt(owned(), &both, "t1"), Ok(vec![TopicStep::Record("t1".into())]), "one that was made again, too");
    let alone = adopt(TopicClaim::None, &view(topic("t1", 1), TopicState::Absent), "t1").unwrap();
    assert!(
        matches!(alone.as_slice(), [TopicStep::Record(_), TopicStep::Create(dlt), TopicStep::Grow { partitions: 3, .. }]
            if dlt.len() == 1 && dlt[0].name.ends_with(".DLT")),
        "{alone:?}"
    );
    for claim in [TopicClaim::None, owned()] {
        let said = adopt(claim.clone(), &both, "t2").unwrap_err().to_string();
        assert!(said.contains("annotate the campaign with coupon-operator.io/adopt-topic=t1"), "{said}");
        let used = TopicView { used: Some(true), ..both.clone() };
        let said = adopt(claim, &used, "t1").unwrap_err().to_string();
        assert!(said.contains("it has been written to"), "{said}");
    }
    let letters = TopicView { dead_letters_used: Some(true), ..both.clone() };
    let said = adopt(TopicClaim::None, &letters, "t1").unwrap_err();
    assert!(matches!(&said, TopicConflict::NotOurs { topic, .. } if topic.ends_with(".DLT")), "{said}");
}

/// Wrong: the Kafka team is asked for "a topic", and makes one that does not do.
#[test]
fn what_may_not_be_made_is_said_with_all_that_somebody_else_must_know() {
    let refused = AdminError::NotAuthorized { resource: "topic t".into(), cause: "said Kafka".into() };
    let steps = plan_for(TopicClaim::None, &view(TopicState::Absent, TopicState::Absent)).unwrap();
    let [_, TopicStep::Create(specs)] = steps.as_slice() else { panic!("{steps:?}") };
    let class = kafka(false);
    let error = not_made(refused, &class, specs);
    assert_eq!((error.reason(), error.condition()), ("KafkaNotAuthorized", api::ConditionType::TopicReady));
    let said = error.to_string();
    for part in [
        "said Kafka",
        "topic prod.shop.spring.coupon-events.DLT (partitions=3 replication-factor=3 max.message.bytes=1114124 min.insync.replicas=2 \
         retention.ms=-1; and, where the brokers' own are others: cleanup.policy=delete retention.bytes=-1 \
         unclean.leader.election.enable=false)",
        "topic prod.shop.spring.coupon-events (partitions=3 replication-factor=3 min.insync.replicas=2; and, where the brokers' own are \
         others: cleanup.policy=delete max.message.bytes=1048588 retention.bytes=-1 retention.ms=604800000 \
         unclean.leader.election.enable=false)",
        "left empty",
        "createTopics: false",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let awaited_now = awaited(&class, specs);
    assert_eq!((awaited_now.reason(), awaited_now.condition()), ("TopicAwaited", api::ConditionType::TopicReady));
    let wanted = said.split_once("have topic").unwrap().1;
    assert!(awaited_now.to_string().ends_with(wanted), "{awaited_now}");
    let turned: Vec<TopicSpec> = specs.iter().rev().cloned().collect();
    assert_eq!(awaited(&class, &turned).to_string(), awaited_now.to_string(), "one sentence, and so one event");
    let mut asking = class.clone();
    asking.topic_config.insert("compression.type".into(), "producer".into());
    assert!(awaited(&asking, specs).to_string().contains(" compression.type=producer"));
    let passing = AdminError::UnknownTopic { topic: "t".into() };
    assert_eq!(not_made(passing.clone(), &class, specs).to_string(), passing.to_string());
}
