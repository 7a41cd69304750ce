//! What status says of database, Redis, Kafka and the topics.

use super::*;

/// Wrong: a right that is missing breaks each epoch, and status says now that Redis is another one, now that all is well.
#[test]
fn what_breaks_each_epoch_is_said_and_not_what_it_leaves_behind() {
    use ConditionType::{Ready, RedisKeysReady, RedisReady};
    const WELL: [&str; 3] = ["True/AllChecksPassed", "True/Available", "True/RedisKeysFilled"];
    let words = "Redis does not let the user run ZADD, which issue.lua needs";
    let vain = |epochs: u64| {
        let mut watch = EpochWatch::default();
        for epoch in 1..=epochs {
            watch.allotted();
            let opened = Opened { epoch, winners: 0, free: 0, redis_only: 0, rebound: false, given_before: 0 };
            watch.opened(&opened, std::time::Instant::now());
        }
        watch
    };
    let closed = || Scene::open().issued(3).stored(3).with(|s| s.redis().open = None);
    for (what, scene, epochs, right_missing, expected) in [
        ("closed", closed(), 1, None, ["False/CampaignClosed", "True/Available", "False/CampaignClosed"]),
        (
            "closed by a right",
            closed(),
            1,
            Some(words),
            ["False/RedisRightMissing", "False/RedisRightMissing", "False/CampaignClosed"],
        ),
        ("again", closed(), 4, None, ["False/CampaignClosed", "True/Available", "False/CampaignClosed"]),
        ("open again", Scene::open(), 4, None, ["False/EpochsInVain", "True/Available", "Unknown/EpochsInVain"]),
        ("open after a failover", Scene::open(), 2, None, WELL),
        ("restarts of Redis after the window", Scene::completed(), 4, None, WELL),
        ("the last winners are stored", Scene::completed().stored(90).lag(10), 4, None, WELL),
        ("long before the window", Scene::prepared(), 4, None, WELL),
        (
            "a moment before",
            Scene::prepared().at(LEAD),
            4,
            None,
            ["False/EpochsInVain", "True/Available", "Unknown/EpochsInVain"],
        ),
        (
            "a right of reading only",
            Scene::open(),
            1,
            Some(words),
            ["False/RedisRightMissing", "False/RedisRightMissing", "True/RedisKeysFilled"],
        ),
    ] {
        let lasting = Lasting { epochs: vain(epochs), right_missing, ..Lasting::default() };
        let status = status_while(&scene, 3, None, None, NOW, lasting);
        assert_eq!([Ready, RedisReady, RedisKeysReady].map(|condition| says(&status, condition)), expected, "{what}");
        assert_eq!(message(&status, Ready).contains("run ZADD"), right_missing.is_some(), "{what}");
    }
}

#[test]
fn a_system_that_is_away_is_named_with_advice_and_the_others_are_well() {
    use ConditionType::{DatabaseReady, KafkaReady, Ready, RedisReady};
    let systems = [DatabaseReady, RedisReady, KafkaReady];
    for (away, scene, reason, advice) in [
        (DatabaseReady, Scene::open().database_away(), "DatabaseUnavailable", "check database in the CampaignClass"),
        (RedisReady, Scene::open().redis_away(), "RedisUnavailable", "check redis in the CampaignClass"),
        (KafkaReady, Scene::open().kafka_away(), "KafkaUnreachable", "check the bootstrap address"),
    ] {
        let status = status_of(&scene);
        for condition in systems {
            let expected = if condition == away { format!("False/{reason}") } else { "True/Available".to_owned() };
            assert_eq!(says(&status, condition), expected);
        }
        assert!(message(&status, away).contains(advice), "{}", message(&status, away));
        assert_eq!(says(&status, Ready), format!("False/{reason}"));
        assert!(message(&status, Ready).contains(advice), "Ready alone tells the story");
    }
}

/// Wrong: all is green while nobody can say what waits in the log.
#[test]
fn offsets_that_stay_unreadable_are_a_condition_with_kafkas_words_and_nothing_is_called_stored() {
    use ConditionType::{KafkaReady, LedgerConsistent, Ready};
    let all_stored = || Scene::open().issued(10).stored(10);
    for (scene, long, kafka, consistent) in [
        (all_stored(), true, "True/Available", "True/AllStored"),
        (all_stored().offsets_unread(), false, "True/Available", "Unknown/NotCompared"),
        (all_stored().offsets_unread(), true, "False/OffsetsUnreadable", "Unknown/NotCompared"),
        (Scene::open().issued(10).stored(6).offsets_unread(), true, "False/OffsetsUnreadable", "Unknown/NotCompared"),
        (all_stored().kafka_away(), false, "False/KafkaUnreachable", "Unknown/NotCompared"),
    ] {
        let status = status_while(&scene, 3, None, None, NOW, Lasting { offsets_unread: long, ..Lasting::default() });
        assert_eq!((says(&status, KafkaReady).as_str(), says(&status, LedgerConsistent).as_str()), (kafka, consistent));
        if kafka.ends_with("OffsetsUnreadable") {
            assert_eq!(says(&status, Ready), kafka);
            assert!(message(&status, Ready).contains("Not coordinator"), "{}", message(&status, Ready));
        }
    }
}

#[test]
fn a_topic_that_cannot_be_used_is_not_called_ready() {
    let status = status_of(&Scene::open().with(|s| s.kafka().topic.events = topic("t9", 3)));
    for (condition, expected) in [
        (ConditionType::TopicReady, "False/TopicReplaced"),
        (ConditionType::ResourceConflict, "True/TopicReplaced"),
        (ConditionType::Stalled, "True/TopicReplaced"),
        (ConditionType::Ready, "False/TopicReplaced"),
        (ConditionType::Reconciling, ""),
    ] {
        assert_eq!(says(&status, condition), expected, "{condition}");
    }
}

#[test]
fn what_stopped_the_pass_is_said_at_the_part_that_it_concerns() {
    let blocked =
        EpochError::RepairBlocked { pod: "spring-issuer-1".to_owned(), uid: "u1".to_owned(), node: "n1".to_owned() };
    let status = status_with(&Scene::open().redis_emptied(), 3, Some(&blocked.into()), None, NOW);
    assert_eq!(says(&status, ConditionType::RedisKeysReady), "False/RepairBlocked");
    assert_eq!(says(&status, ConditionType::Ready), "False/RepairBlocked");
    let text = message(&status, ConditionType::Ready);
    assert!(text.contains("spring-issuer-1") && text.contains("delete the Node object"), "{text}");
}

#[test]
fn the_topic_is_described_as_found() {
    let status = status_of(&Scene::open());
    let found = status.topic.unwrap();
    assert_eq!((found.name.as_str(), found.topic_id.as_deref()), (fixtures::id().topic().as_str(), Some("t1")));
    assert_eq!((found.partitions, found.replication_factor, found.min_in_sync_replicas), (3, 3, 2));

    let lowered = Scene::open().with(|s| {
        let TopicState::Present(topic) = &mut s.kafka().topic.events else { panic!("the topic is there") };
        topic.partitions.iter_mut().for_each(|partition| partition.replicas.truncate(1));
    });
    let status = status_of(&lowered);
    assert_eq!(says(&status, ConditionType::TopicReady), "True/ReplicationLowered");
    assert!(message(&status, ConditionType::TopicReady).contains("one broken broker"), "the risk is said");
}
