mod moved;
mod refusals;
mod removed;

use campaign::format::Newer;
use campaign::log::admin::TopicState;
use campaign::table::Position;
use k8s_openapi::api::apps::v1::{DeploymentSpec, DeploymentStatus};
use serde_json::json;

use super::*;
use crate::api::conditions::find;
use crate::children::ownership::NotOurs;
use crate::diagnosis::Cause;
use crate::epoch::{EpochError, Opened};
use crate::fixtures::{self, END, HOUR, LEAD, START};
use crate::log_view::DeadUnread;
use crate::reconcile::epochs::EpochWatch;
use crate::reconcile::numbers::There;
use crate::reconcile::rollout::Rollouts;
use crate::reconcile::scene::{Scene, topic};
use crate::repair::compare::Standing;
use crate::repair::scan::Looked;
use crate::serving::Service;
use campaign::stock::StockError;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const LATER: Timestamp = Timestamp::constant(1_800_000_060, 0);

/// A Deployment with so many replicas, of which so many are ready.
fn deployment(replicas: i32, ready: i32) -> Deployment {
    Deployment {
        spec: Some(DeploymentSpec { replicas: Some(replicas), ..DeploymentSpec::default() }),
        status: Some(DeploymentStatus { ready_replicas: Some(ready), ..DeploymentStatus::default() }),
        ..Deployment::default()
    }
}

/// What the status of a scene is, when its pods are as they should be.
fn status_of(scene: &Scene) -> CouponCampaignStatus {
    status_with(scene, 3, None, None, NOW)
}

fn status_with(
    scene: &Scene,
    ready_consumers: i32,
    failure: Option<&ReconcileError>,
    adopted: Option<u64>,
    now: Timestamp,
) -> CouponCampaignStatus {
    status_while(scene, ready_consumers, failure, adopted, now, Lasting::default())
}

/// What lasts so long that it is said.
#[derive(Default)]
struct Lasting<'a> {
    /// What cannot be read of the log could not be read for long.
    offsets_unread: bool,
    /// Consumers have stored nothing for long.
    consumers_still: Option<&'a str>,
    /// Why pods are not ready.
    ailing: Ailing,
    /// What issuers say; `None`: they grant.
    service: Option<Service>,
    /// Redis can be read, and takes no writes.
    redis_refusal: Option<&'a StockError>,
    /// The Service has no endpoints.
    leads_nowhere: bool,
    strays: Option<&'a str>,
    /// Issuers that are ready; `None`: the one that should be.
    issuers: Option<i32>,
    /// What became of its epochs.
    epochs: EpochWatch,
    /// What issuers say of a right.
    right_missing: Option<&'a str>,
    /// What comparing has come to; `None`: rows and Redis are the same.
    compared: Option<Standing>,
}

fn status_while(
    scene: &Scene,
    ready_consumers: i32,
    failure: Option<&ReconcileError>,
    adopted: Option<u64>,
    now: Timestamp,
    Lasting {
        offsets_unread,
        consumers_still,
        ailing,
        service,
        redis_refusal,
        issuers,
        leads_nowhere,
        strays,
        epochs,
        right_missing,
        compared,
    }: Lasting<'_>,
) -> CouponCampaignStatus {
    let service = service.unwrap_or(Service::Grants);
    let (issuer, consumer) = (deployment(1, issuers.unwrap_or(1)), deployment(3, ready_consumers));
    let (plan, seen) = (scene.plan(), scene.observation());
    let numbers = scene.numbers(There::of(Some(&issuer)), There::of(Some(&consumer)));
    let facts = Facts {
        campaign: &scene.campaign,
        class: &scene.class,
        id: &fixtures::id(),
        seen: &seen,
        plan: &plan,
        numbers: &numbers,
        failure,
        issuer: Some(&issuer),
        consumer: Some(&consumer),
        adopted,
        looked: &Looked::default(),
        compared: compared.unwrap_or(Standing { proves: true, suspect: None }),
        measured: None,
        kafka_refuses: None,
        nobody_serves: None,
        service: &service,
        users_reach_issuers: !leads_nowhere,
        strays,
        redis_refusal,
        ailing: &ailing,
        stop: None,
        epochs: &epochs,
        right_missing,
        rollouts: &Rollouts::default(),
        offsets_unread,
        consumers_still,
    };
    status(&facts, now)
}

/// "True/Reason", or "" when the condition is not there.
fn says(status: &CouponCampaignStatus, condition: ConditionType) -> String {
    find(&status.conditions, condition).map_or(String::new(), |each| format!("{}/{}", each.status, each.reason))
}

fn message(status: &CouponCampaignStatus, condition: ConditionType) -> String {
    find(&status.conditions, condition).map_or(String::new(), |each| each.message.clone())
}

/// The status as a watch gives it back: through JSON, and with the conditions in the order in which they are written.
fn stored(status: &CouponCampaignStatus) -> CouponCampaignStatus {
    let mut sorted = status.clone();
    sorted.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    serde_json::from_value(serde_json::to_value(sorted).unwrap()).unwrap()
}

#[test]
fn the_conditions_of_a_campaigns_life() {
    use ConditionType::{Open, Ready, Reconciling, Stalled};
    for (scene, ready, open, reconciling, stalled) in [
        (Scene::new_campaign(), "False/TopicMissing", "False/Pending", "True/TopicMissing", ""),
        (Scene::with_topics(), "False/NoOpenEpoch", "False/Pending", "True/NoOpenEpoch", ""),
        // GitOps tools wait for Ready: a sale next week must not keep them waiting until then.
        (Scene::prepared(), "True/AsItShouldBe", "False/NotStarted", "", ""),
        (Scene::open().issued(10).lag(4).stored(6), "True/AsItShouldBe", "True/WindowOpen", "", ""),
        (Scene::open().issued(100).stored(100), "True/AsItShouldBe", "False/SoldOut", "", ""),
        (
            Scene::open().with(|s| s.campaign.spec.suspend = true).in_force(),
            "True/AsItShouldBe",
            "False/Suspended",
            "",
            "",
        ),
        (
            Scene::open().with(|s| s.campaign.spec.suspend = true).database_away(),
            "False/DatabaseUnavailable",
            "True/SuspensionPending",
            "True/DatabaseUnavailable",
            "",
        ),
        (
            Scene::open().with(|s| s.in_redis().terms.suspended = true).database_away(),
            "False/DatabaseUnavailable",
            "False/ResumptionPending",
            "True/DatabaseUnavailable",
            "",
        ),
        (
            Scene::completed().starting(START + HOUR).at(END - 1).with(|s| s.row().object_uid = Some("2".to_owned())),
            "False/LedgerTermsDiffer",
            "False/Pending",
            "",
            "True/LedgerTermsDiffer",
        ),
        (
            Scene::completed().starting(START + HOUR).with(|s| s.row().object_uid = Some("2".to_owned())),
            "False/LedgerTermsDiffer",
            "False/Ended",
            "",
            "True/LedgerTermsDiffer",
        ),
        (Scene::open().redis_emptied(), "False/RedisEmpty", "False/Repairing", "True/RedisEmpty", ""),
        (Scene::open().issued(10).lag(4).stored(6).at(END), "True/AsItShouldBe", "False/Ended", "", ""),
        (Scene::completed(), "True/AsItShouldBe", "False/Ended", "", ""),
        (
            Scene::open().issued(70).quantity(60),
            "False/QuantityBelowIssued",
            "True/WindowOpen",
            "",
            "True/QuantityBelowIssued",
        ),
        (
            Scene::open().issued(70).quantity(60).in_force().in_force().in_row(),
            "False/QuantityBelowIssued",
            "False/SoldOut",
            "",
            "True/QuantityBelowIssued",
        ),
    ] {
        let status = status_of(&scene);
        assert_eq!(
            [Ready, Open, Reconciling, Stalled].map(|condition| says(&status, condition)),
            [ready, open, reconciling, stalled],
            "{scene:#?}"
        );
    }
}

/// Wrong: a right that is missing breaks each epoch, and status says now that Redis is another one, now that all is well.
#[test]
fn what_breaks_each_epoch_is_said_and_not_what_it_leaves_behind() {
    use ConditionType::{Ready, RedisReady, StockReady};
    const WELL: [&str; 3] = ["True/AsItShouldBe", "True/Available", "True/StockFilled"];
    let words = "Redis does not let the user run ZADD, which issue.lua needs";
    let vain = |epochs: u64| {
        let mut watch = EpochWatch::default();
        for epoch in 1..=epochs {
            watch.allotted();
            let opened = Opened { epoch, winners: 0, free: 0, redis_only: 0, rebound: false };
            watch.opened(&opened, std::time::Instant::now());
        }
        watch
    };
    let closed = || Scene::open().issued(3).stored(3).with(|s| s.stock().open = None);
    for (what, scene, epochs, right_missing, expected) in [
        ("closed", closed(), 1, None, ["False/StockClosed", "True/Available", "False/StockClosed"]),
        (
            "closed by a right",
            closed(),
            1,
            Some(words),
            ["False/RedisRightMissing", "False/RedisRightMissing", "False/StockClosed"],
        ),
        ("again", closed(), 4, None, ["False/StockClosed", "True/Available", "False/StockClosed"]),
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
            ["False/RedisRightMissing", "False/RedisRightMissing", "True/StockFilled"],
        ),
    ] {
        let lasting = Lasting { epochs: vain(epochs), right_missing, ..Lasting::default() };
        let status = status_while(&scene, 3, None, None, NOW, lasting);
        assert_eq!([Ready, RedisReady, StockReady].map(|condition| says(&status, condition)), expected, "{what}");
        assert_eq!(message(&status, Ready).contains("run ZADD"), right_missing.is_some(), "{what}");
    }
}

/// Wrong: a letter of a later version is there, and all is green until a repair closes the sale for good; or Kafka is blamed then, beside a
/// ledger of which all is known.
#[test]
fn a_letter_that_no_repair_gets_past_is_said_before_one_is_needed() {
    use ConditionType::{KafkaReady, LedgerConsistent, Ready, StockReady};
    let at = Position { partition: 1, offset: 7 };
    let newer = || Newer { what: "the record", found: 2, known: 1 };
    let unread = |scene: Scene| scene.dead_letters_unread(DeadUnread::Newer { at, newer: newer() });
    let sale = || Scene::open().issued(10).stored(10);
    let warned = status_of(&unread(sale()));
    assert_eq!(says(&warned, LedgerConsistent), "Unknown/NewerRecord");
    assert_eq!(says(&warned, Ready), "True/AsItShouldBe", "people are served");
    for condition in [Ready, LedgerConsistent] {
        let text = message(&warned, condition);
        assert!(
            text.contains("partition 1, offset 7: the record is of version 2") && text.contains("--discard 1:7"),
            "{text}"
        );
    }
    let failure = ReconcileError::from(EpochError::NewerRecord { topic: "t".to_owned(), at, newer: newer() });
    let stopped = status_with(&unread(sale().redis_emptied()), 3, Some(&failure), None, NOW);
    assert_eq!(
        [Ready, StockReady, KafkaReady, LedgerConsistent].map(|condition| says(&stopped, condition)),
        ["False/NewerRecord", "False/NewerRecord", "True/Available", "Unknown/NewerRecord"]
    );
    let failed =
        status_of(&sale().dead_letters_unread(DeadUnread::Failed("dead letters could not be read: x".to_owned())));
    assert_eq!(says(&failed, LedgerConsistent), "Unknown/DeadLettersUnread");
    assert_eq!(message(&failed, Ready), "all is as it should be at this time", "the next look may read them");
}

/// Wrong: status shows what people ask for, as if it were so.
#[test]
fn the_terms_in_force_are_shown_whatever_is_asked_for() {
    let shown = |scene: &Scene| status_of(scene).terms.map(|terms| (terms.total_quantity, terms.suspended));
    assert_eq!(shown(&Scene::new_campaign()), None);
    assert_eq!(shown(&Scene::prepared()), Some((100, false)));
    let asked = Scene::open().quantity(150).with(|s| s.campaign.spec.suspend = true);
    assert_eq!(shown(&asked), Some((100, false)), "on its way");
    assert_eq!(shown(&asked.clone().in_force()), Some((150, true)));
    let mut away = asked.in_force();
    away.campaign.status = Some(stored(&status_of(&away)));
    assert_eq!(shown(&away.redis_away()), Some((150, true)), "what was in force stays shown while Redis is away");

    let mut closed_out = Scene::completed().redis_emptied().quantity(300).starting(START + HOUR);
    closed_out.row().object_uid = Some("2".to_owned());
    closed_out.campaign.status = None;
    let status = status_of(&closed_out);
    assert_eq!(status.terms.as_ref().map(|terms| terms.total_quantity), Some(100), "the ledger's own");
    assert_eq!(status.epoch, None, "it has had none of this ledger, and the next look must know");
    assert_eq!(says(&status, ConditionType::Stalled), "True/LedgerTermsDiffer");
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

/// Wrong: consumers that read nothing are ready, and so is the campaign.
#[test]
fn consumers_that_stand_still_are_a_condition_with_what_and_since_when() {
    use ConditionType::{Ready, WorkloadsReady};
    let scene = Scene::open().issued(10).lag(4).stored(6);
    let text = "consumers are ready, and since noon they have stored nothing of partitions 2 (offset 7)";
    for (ready, still, expected) in [
        (3, None, "True/PodsReady"),
        (3, Some(text), "False/ConsumersStandStill"),
        // Why those that are there do not work is the better news.
        (1, Some(text), "False/ConsumersStandStill"),
        (1, None, "False/PodsNotReady"),
    ] {
        let lasting = || Lasting { consumers_still: still, ..Lasting::default() };
        let status = status_while(&scene, ready, None, None, NOW, lasting());
        assert_eq!(says(&status, WorkloadsReady), expected);
        if still.is_some() {
            assert_eq!((says(&status, Ready).as_str(), message(&status, Ready).as_str()), (expected, text));
        }
        let mut again = scene.clone();
        again.campaign.status = Some(stored(&status));
        assert_eq!(
            status_while(&again, ready, None, None, LATER, lasting()),
            stored(&status),
            "nothing new, nothing to write"
        );
    }
}

#[test]
fn an_unchanged_situation_writes_no_status() {
    // A write would start the next pass, and that the next write.
    for scene in [
        Scene::new_campaign(),
        Scene::prepared(),
        Scene::open().issued(10).lag(4).stored(6),
        Scene::open().kafka_away(),
        Scene::open().redis_emptied(),
        Scene::open().issued(70).quantity(60).starting(START + 1000),
        Scene::open().with(|s| s.log().topic.events = topic("t9", 3)),
        Scene::completed(),
    ] {
        let before = stored(&status_with(&scene, 3, None, Some(5), NOW));
        let mut again = scene.clone();
        again.campaign.status = Some(before.clone());
        assert_eq!(status_with(&again, 3, None, None, LATER), before, "{scene:#?}");
    }
}

#[test]
fn every_condition_says_which_generation_it_describes_and_stands_once() {
    let mut scene = Scene::open().issued(70).quantity(60).with(|s| s.log().topic.events = topic("t9", 3));
    scene.campaign.metadata.generation = Some(7);
    let status = status_of(&scene);
    assert_eq!(status.observed_generation, Some(7));
    let mut types: Vec<&str> = status.conditions.iter().map(|each| each.type_.as_str()).collect();
    assert!(status.conditions.iter().all(|each| each.observed_generation == Some(7)));
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), status.conditions.len());
}

#[test]
fn a_counter_that_cannot_be_read_keeps_its_last_value() {
    let known = stored(&status_of(&Scene::open().issued(10).stored(6).dead_letters(1)));
    assert_eq!(
        (known.issued, known.persisted, known.lag, known.dead_letters, known.unconfirmed),
        (Some(10), Some(6), Some(0), Some(1), Some(3))
    );
    let mut blind = Scene::open().database_away().redis_away().kafka_away();
    blind.campaign.status = Some(known.clone());
    let status = status_of(&blind);
    assert_eq!(
        (status.issued, status.persisted, status.lag, status.dead_letters, status.unconfirmed),
        (known.issued, known.persisted, known.lag, known.dead_letters, known.unconfirmed)
    );
    assert_eq!((status.epoch, status.topic), (known.epoch, known.topic));

    let never_read = status_of(&Scene::new_campaign().database_away().redis_away().kafka_away());
    assert_eq!((never_read.issued, never_read.persisted, never_read.lag), (None, None, None), "unknown is not zero");
}

#[test]
fn winners_that_are_nowhere_durable_are_counted() {
    use ConditionType::LedgerConsistent;
    for (scene, expected, unconfirmed) in [
        (Scene::open().issued(10).stored(10), "True/AllStored", Some(0)),
        (Scene::open().issued(10).stored(8).dead_letters(2), "False/DeadLetters", Some(0)),
        (Scene::open().issued(10).stored(5).dead_letters(2).lag(3), "False/DeadLetters", None),
        (Scene::open().issued(10).stored(10).dead_letters(2).given_up(2), "True/AllStored", Some(0)),
        (Scene::open().issued(10).stored(6).lag(4), "True/InTheLog", None),
        (Scene::open().issued(10).stored(6), "False/Unconfirmed", Some(4)),
        (Scene::open().issued(10).stored(6).kafka_away(), "Unknown/Unreadable", None),
        (Scene::open().issued(10).stored(10).counted_before(600_000), "True/AllStored", Some(0)),
        (Scene::open().issued(10).stored(10).counted_before(600_001), "Unknown/NotCounted", Some(0)),
        // Redis holds them: they are published again.
        (Scene::open().issued(10).stored(6).had(10), "False/Unconfirmed", Some(4)),
        (Scene::open().issued(6).stored(6).had(10), "False/RowsMissing", Some(0)),
        (Scene::open().issued(6).stored(5).had(10), "False/RowsMissing", Some(1)),
        (Scene::open().issued(8).stored(6).dead_letters(4).had(10), "False/DeadLetters", Some(0)),
    ] {
        let status = status_of(&scene);
        let ready = says(&status, ConditionType::Ready);
        assert!(ready.starts_with("False") || !expected.starts_with("False/D"), "people have to look: {ready}");
        assert_eq!((says(&status, LedgerConsistent).as_str(), status.unconfirmed), (expected, unconfirmed));
    }
}

/// Wrong: a row that is nobody's stands for the one that is missing, and all is said to be stored.
#[test]
fn counts_alone_prove_nothing_and_rows_that_are_nobodys_are_said() {
    use ConditionType::LedgerConsistent;
    let all = || Scene::open().issued(10).stored(10);
    let foreign = |scene: Scene| scene.with(|s| s.foreign_row(5_000));
    let compared = Some(Standing { proves: true, suspect: None });
    let forged = |scene: Scene| scene.with(|s| (s.log().dead_letters, s.log().contradicted) = (Some(1), Some(1)));
    for (what, scene, compared, expected, part) in [
        ("compared", all(), compared, "True/AllStored", "every winner is a row"),
        ("counted", all(), Some(Standing::default()), "True/AllCounted", "as many rows as winners"),
        ("differs", all(), Some(Standing { proves: true, suspect: Some(7) }), "Unknown/NotCompared", "rank 7"),
        ("a foreign row", foreign(all()), compared, "False/ForeignRow", "a row of rank 5000 is no winner's"),
        ("beside all others", foreign(all()), compared, "False/ForeignRow", "every winner is a row"),
        ("and one is missing", foreign(all().stored(9)), compared, "False/Unconfirmed", "rank 5000"),
        ("a forged record", forged(all()), compared, "True/AllStored", "name 1 ranks for users"),
        ("and one is missing", forged(all().stored(9)), compared, "False/Unconfirmed", "name 1 ranks for users"),
    ] {
        let status = status_while(&scene, 3, None, None, NOW, Lasting { compared, ..Lasting::default() });
        assert_eq!(says(&status, LedgerConsistent), expected, "{what}");
        let text = message(&status, LedgerConsistent);
        assert!(text.contains(part), "{what}: {text}");
    }
}

/// Wrong: winners that database and Redis have both lost are passed over in silence.
#[test]
fn rows_that_nothing_can_bring_back_are_said_in_numbers() {
    let status = status_of(&Scene::open().issued(250).stored(240).had(300).quantity(1_000));
    assert_eq!(says(&status, ConditionType::Ready), "False/RowsMissing", "nothing mends it by itself");
    let text = message(&status, ConditionType::LedgerConsistent);
    for part in ["has 240 rows", "once had 300", "knows 250 winners", "50 rows are missing", "backup"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Wrong: after a restart of the operator all is well again, though nothing was measured.
#[test]
fn what_was_lost_is_not_forgotten_by_the_next_operator() {
    let lost = stored(&status_of(&Scene::open().issued(250).stored(240).had(300).quantity(1_000)));
    assert_eq!((lost.persisted, lost.once_persisted), (Some(240), Some(300)));
    let mut next = Scene::open().issued(250).stored(240).quantity(1_000);
    next.campaign.status = Some(lost.clone());
    let remembered = crate::reconcile::had(&next.campaign, &fixtures::id());
    assert_eq!(remembered, 300);
    assert_eq!(says(&status_of(&next.clone().had(remembered)), ConditionType::LedgerConsistent), "False/RowsMissing");
    let blind = status_of(&next.database_away());
    assert_eq!(blind.once_persisted, Some(300), "what cannot be read is not known to be well");
    // A newer backup brought them back.
    let well = status_of(&Scene::open().issued(300).stored(300).had(300).quantity(1_000));
    assert_eq!((well.once_persisted, says(&well, ConditionType::LedgerConsistent).as_str()), (None, "True/AllStored"));
    // Another ledger has another past.
    let mut other = Scene::open();
    other.campaign.status = Some(CouponCampaignStatus { coupon_id: Some("other".to_owned()), ..lost });
    assert_eq!(crate::reconcile::had(&other.campaign, &fixtures::id()), 0);
}

#[test]
fn pods_that_are_not_ready_are_counted() {
    let status = status_with(&Scene::open(), 1, None, None, NOW);
    assert_eq!(says(&status, ConditionType::WorkloadsReady), "False/PodsNotReady");
    assert_eq!(message(&status, ConditionType::WorkloadsReady), "1 of 3 consumer pods are ready");
    assert_eq!(says(&status, ConditionType::Ready), "False/PodsNotReady");
    let consumer = status.consumer.unwrap();
    assert_eq!(
        (consumer.wanted, consumer.ready, consumer.reason.as_str()),
        (3, 1, "fewer will do if it stays so for a minute")
    );
}

#[test]
fn pods_that_are_held_are_reported_as_they_are() {
    let status = status_of(&Scene::open().issued(5).kafka_away());
    let consumer = status.consumer.unwrap();
    assert_eq!((consumer.wanted, consumer.reason.as_str()), (3, "what there is to do cannot be read"));
}

#[test]
fn a_topic_that_cannot_be_used_is_not_called_ready() {
    let status = status_of(&Scene::open().with(|s| s.log().topic.events = topic("t9", 3)));
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
fn an_object_of_somebody_else_in_the_way_is_a_conflict_that_names_it_and_says_what_to_do() {
    let foreign = NotOurs::Foreign {
        kind: "Service".to_owned(),
        namespace: "shop".to_owned(),
        name: "spring-issuer".to_owned(),
        owner: Some("Deployment/orders".to_owned()),
    };
    let status = status_with(&Scene::open(), 3, Some(&foreign.into()), None, NOW);
    for (condition, expected) in [
        (ConditionType::ResourceConflict, "True/ResourceConflict"),
        (ConditionType::WorkloadsReady, "False/ResourceConflict"),
        (ConditionType::Stalled, "True/ResourceConflict"),
        (ConditionType::Ready, "False/ResourceConflict"),
        (ConditionType::Reconciling, ""),
    ] {
        assert_eq!(says(&status, condition), expected, "{condition}");
    }
    let text = message(&status, ConditionType::ResourceConflict);
    for part in ["Service shop/spring-issuer", "Deployment/orders", "left as it is", "metadata.name"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A predecessor's object goes by itself: nothing is stalled.
    let leaving = NotOurs::Leaving { kind: "Secret".to_owned(), namespace: "shop".to_owned(), name: "s".to_owned() };
    let status = status_with(&Scene::open(), 3, Some(&leaving.into()), None, NOW);
    assert_eq!(says(&status, ConditionType::Reconciling), "True/PredecessorLeaving");
    assert_eq!(says(&status, ConditionType::Stalled), "");
}

#[test]
fn what_stopped_the_pass_is_said_at_the_part_that_it_concerns() {
    let blocked =
        EpochError::RepairBlocked { pod: "spring-issuer-1".to_owned(), uid: "u1".to_owned(), node: "n1".to_owned() };
    let status = status_with(&Scene::open().redis_emptied(), 3, Some(&blocked.into()), None, NOW);
    assert_eq!(says(&status, ConditionType::StockReady), "False/RepairBlocked");
    assert_eq!(says(&status, ConditionType::Ready), "False/RepairBlocked");
    let text = message(&status, ConditionType::Ready);
    assert!(text.contains("spring-issuer-1") && text.contains("delete the Node object"), "{text}");
}

#[test]
fn an_adopted_ledger_stays_visible() {
    let first = status_with(&Scene::prepared(), 3, None, Some(42), NOW);
    let text = message(&first, ConditionType::LedgerAdopted);
    assert!(text.contains("42 coupons"), "{text}");
    let mut scene = Scene::open();
    scene.campaign.status.as_mut().unwrap().conditions = first.conditions;
    assert_eq!(message(&status_of(&scene), ConditionType::LedgerAdopted), text);
}

#[test]
fn the_topic_is_described_as_found() {
    let status = status_of(&Scene::open());
    let found = status.topic.unwrap();
    assert_eq!((found.name.as_str(), found.topic_id.as_deref()), (fixtures::id().topic().as_str(), Some("t1")));
    assert_eq!((found.partitions, found.replication_factor, found.min_in_sync_replicas), (3, 3, 2));

    let lowered = Scene::open().with(|s| {
        let TopicState::Present(topic) = &mut s.log().topic.events else { panic!("the topic is there") };
        topic.partitions.iter_mut().for_each(|partition| partition.replicas.truncate(1));
    });
    let status = status_of(&lowered);
    assert_eq!(says(&status, ConditionType::TopicReady), "True/ReplicationLowered");
    assert!(message(&status, ConditionType::TopicReady).contains("one broken broker"), "the risk is said");
}

#[test]
fn the_url_and_the_next_change_are_for_people() {
    let mut scene = Scene::prepared();
    let status = status_of(&scene);
    assert_eq!(status.url.as_deref(), Some("http://spring-issuer.shop.svc/api/coupons/spring/issue"));
    assert_eq!(status.next_transition.map(|time| time.0.as_millisecond()), Some(LEAD));
    scene.class.spec.routing.url_template = Some("https://c.example/{namespace}/{couponId}".to_owned());
    assert_eq!(status_of(&scene).url.as_deref(), Some("https://c.example/shop/spring"));
}

/// Of a pass that could not look an hour into the window, while an issuer is ready.
fn blind(campaign: &CouponCampaign, failure: &ReconcileError, now: Timestamp) -> CouponCampaignStatus {
    let known = Blind { ready: 1, service: &Service::Silent, now_ms: START + HOUR };
    status_without_class(campaign, failure, &known, now)
}

#[test]
fn without_a_class_what_was_known_stays() {
    let mut campaign = fixtures::campaign();
    campaign.status = Some(stored(&status_of(&Scene::open().issued(10).stored(10))));
    let missing = ReconcileError::Class(crate::class::ClassError::NotFound("main".to_owned()));
    let status = blind(&campaign, &missing, NOW);
    assert_eq!((status.phase, status.issued, status.persisted), (Some(Phase::Open), Some(10), Some(10)));
    for (condition, expected) in [
        (ConditionType::ClassResolved, "False/ClassNotFound"),
        (ConditionType::Ready, "False/ClassNotFound"),
        (ConditionType::Reconciling, "True/ClassNotFound"),
        (ConditionType::Stalled, ""),
    ] {
        assert_eq!(says(&status, condition), expected);
    }

    // Secrets arrive some seconds later (External Secrets), and an API server that errs will not for ever: no tool should give up.
    let (namespace, name) = ("coupon-system".to_owned(), "login".to_owned());
    let refused = json!({"status": "Failure", "message": "try again", "reason": "ServiceUnavailable", "code": 503});
    for arrives in [
        crate::class::ClassError::SecretMissing { namespace, name, class: "main".to_owned() },
        crate::class::ClassError::Api(kube::Error::Api(serde_json::from_value(refused).unwrap())),
    ] {
        let reason = arrives.reason();
        let status = blind(&fixtures::campaign(), &ReconcileError::Class(arrives), NOW);
        assert_eq!(says(&status, ConditionType::Reconciling), format!("True/{reason}"));
        assert_eq!(says(&status, ConditionType::Stalled), "", "{reason}");
    }

    let limit = ReconcileError::Class(crate::class::ClassError::CouponIdTaken("older".to_owned()));
    let stalled = blind(&campaign, &limit, NOW);
    assert_eq!(says(&stalled, ConditionType::Stalled), "True/CouponIdTaken", "nothing arrives that would end this");
    assert_eq!(says(&stalled, ConditionType::Reconciling), "");
    let fault = ReconcileError::Panic("words".to_owned());
    assert_eq!(says(&blind(&campaign, &fault, NOW), ConditionType::Reconciling), "True/InternalError");

    let new = blind(&fixtures::campaign(), &missing, NOW);
    assert_eq!(json!(new.phase), json!("Pending"));
}

#[test]
fn a_clock_that_is_not_believed_is_a_condition_and_users_hear_otherwise() {
    let status = status_of(&Scene::open().clocks_off(-7_200_000, Some(0)));
    assert_eq!(says(&status, ConditionType::ClocksAgree), "False/RedisClockWrong");
    assert_eq!(says(&status, ConditionType::Open), "False/RedisClockWrong");
    assert_eq!(says(&status, ConditionType::Ready), "False/RedisClockWrong");
    assert!(message(&status, ConditionType::Open).contains("2 h ahead of Redis"), "{status:?}");
    assert_eq!(status.phase, Some(Phase::Open));
    let status = status_of(&Scene::open().clocks_off(-7_200_000, None));
    assert_eq!(says(&status, ConditionType::ClocksAgree), "False/ClocksDisagree");
    let status = status_of(&Scene::open());
    assert_eq!(says(&status, ConditionType::ClocksAgree), "", "said only when it matters");
}

fn cause(reason: &'static str, text: &str) -> Option<Cause> {
    Some(Cause { reason, text: text.to_owned(), is_starting: false })
}

/// Wrong: "coupons can be had" where nobody measured that they can.
#[test]
fn a_window_is_open_only_if_an_issuer_grants_from_a_redis_that_takes_writes() {
    use ConditionType::{Open, Ready, RedisReady, WorkloadsReady};
    let parsed = redis::parse_redis_value(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    let Ok(redis::Value::ServerError(full)) = parsed else { panic!("an error reply") };
    let full = StockError::from(redis::RedisError::from(full));
    let refuses =
        || Some(Service::Refuses("issuers are ready and grant nothing (1 Fenced); users hear 503".to_owned()));
    let denied = redis::parse_redis_value(b"-NOAUTH Authentication required.\r\n");
    let Ok(redis::Value::ServerError(denied)) = denied else { panic!("an error reply") };
    let denied = StockError::from(redis::RedisError::from(denied));
    let quota = || Ailing { issuer: cause("PodsForbidden", "exceeded quota: two"), consumer: None };
    for (scene, lasting, open, says_part, part, ready) in [
        (Scene::open(), Lasting::default(), "True/WindowOpen", "coupons can be had", RedisReady, "True/AsItShouldBe"),
        (
            Scene::open(),
            Lasting { issuers: Some(0), ailing: quota(), ..Lasting::default() },
            "False/NoReadyIssuer",
            "exceeded quota: two",
            WorkloadsReady,
            "False/PodsForbidden",
        ),
        (
            Scene::open(),
            Lasting { service: refuses(), ..Lasting::default() },
            "False/IssuersNotServing",
            "1 Fenced",
            WorkloadsReady,
            "False/IssuersNotServing",
        ),
        (
            Scene::open(),
            Lasting { service: Some(Service::Silent), ..Lasting::default() },
            "Unknown/IssuersSilent",
            "port 8081",
            WorkloadsReady,
            "False/IssuersSilent",
        ),
        (
            Scene::open(),
            Lasting { redis_refusal: Some(&full), ..Lasting::default() },
            "False/RedisOutOfMemory",
            "raise maxmemory",
            RedisReady,
            "False/RedisOutOfMemory",
        ),
        (
            Scene::open(),
            Lasting { leads_nowhere: true, ..Lasting::default() },
            "False/ServiceLeadsNowhere",
            "Service spring-issuer has no endpoints",
            WorkloadsReady,
            "False/ServiceLeadsNowhere",
        ),
        (
            Scene::open(),
            Lasting { redis_refusal: Some(&denied), ..Lasting::default() },
            "Unknown/RedisAuthenticationFailed",
            "issuers say that they grant",
            RedisReady,
            "False/RedisAuthenticationFailed",
        ),
        (
            Scene::open().redis_away(),
            Lasting::default(),
            "Unknown/RedisUnavailable",
            "issuers say that they grant",
            RedisReady,
            "False/RedisUnavailable",
        ),
    ] {
        let status = status_while(&scene, 3, None, None, NOW, lasting);
        assert_eq!((says(&status, Open).as_str(), says(&status, Ready).as_str()), (open, ready));
        let text = message(&status, Open);
        assert!(text.contains(says_part), "{text}");
        if let Some((_, reason)) = ready.split_once("False/") {
            assert!(says(&status, part).ends_with(reason), "{}", says(&status, part));
        }
    }
}

/// Wrong: "0 of 1 pods are ready", and nothing else.
#[test]
fn pods_that_are_not_ready_come_with_their_cause() {
    use ConditionType::{Ready, WorkloadsReady};
    let crash = || cause("PodsCrash", "pod spring-consumer-1 ended with exit code 1: no space left");
    let lasting = Lasting { ailing: Ailing { issuer: None, consumer: crash() }, ..Lasting::default() };
    let status = status_while(&Scene::open(), 1, None, None, NOW, lasting);
    assert_eq!(
        (says(&status, WorkloadsReady).as_str(), says(&status, Ready).as_str()),
        ("False/PodsCrash", "False/PodsCrash")
    );
    let text = message(&status, WorkloadsReady);
    assert_eq!(text, "1 of 3 consumer pods are ready: pod spring-consumer-1 ended with exit code 1: no space left");
}

/// Wrong: nobody is wanted, so nobody is missed.
#[test]
fn scaling_that_is_held_at_no_issuers_is_no_campaign_that_is_ready() {
    let pause = json!({"coupon-operator.io/pause-scaling": "all"});
    let scene =
        Scene::open().with(|s| s.campaign.metadata.annotations = serde_json::from_value(pause.clone()).unwrap());
    let (plan, seen) = (scene.plan(), scene.observation());
    let mut numbers = scene.numbers(There::of(None), There::of(None));
    assert!(numbers.issuer.replicas > 0, "from nothing pods come all the same");
    (numbers.issuer.replicas, numbers.consumer.replicas) = (0, 0);
    numbers.issuer.reason = "the clocks do not agree".to_owned();
    let facts = Facts {
        campaign: &scene.campaign,
        class: &scene.class,
        id: &fixtures::id(),
        seen: &seen,
        plan: &plan,
        numbers: &numbers,
        failure: None,
        issuer: None,
        consumer: None,
        adopted: None,
        looked: &Looked::default(),
        compared: Standing { proves: true, suspect: None },
        measured: None,
        kafka_refuses: None,
        nobody_serves: None,
        service: &Service::Silent,
        users_reach_issuers: true,
        strays: None,
        redis_refusal: None,
        ailing: &Ailing::default(),
        stop: None,
        epochs: &EpochWatch::default(),
        right_missing: None,
        rollouts: &Rollouts::default(),
        offsets_unread: false,
        consumers_still: None,
    };
    let status = status(&facts, NOW);
    assert_eq!(says(&status, ConditionType::Open), "False/NoReadyIssuer");
    assert_eq!(says(&status, ConditionType::WorkloadsReady), "False/NoIssuersWanted");
    assert!(message(&status, ConditionType::Ready).contains("the clocks do not agree"), "{status:?}");
}

/// Wrong: those of before are ready, so all is well, and the next node that goes takes the last of them.
#[test]
fn pods_whose_successors_do_not_come_up_are_not_ready() {
    let mut rolling = deployment(1, 1);
    let status = rolling.status.as_mut().unwrap();
    (status.replicas, status.updated_replicas, status.unavailable_replicas) = (Some(2), Some(1), Some(1));
    let image = cause("ImagePullFailed", "pod a cannot have its image");
    let kind = |cause| workloads::stuck_of(&rolling, cause).map(|(reason, _)| reason);
    assert_eq!(kind(image.as_ref()), Some("RolloutStuck"));
    let starting = Cause { is_starting: true, ..image.clone().unwrap() };
    assert_eq!((kind(Some(&starting)), kind(None)), (None, None));
    assert_eq!(workloads::stuck_of(&deployment(1, 1), image.as_ref()), None, "the pods are all of them");
}

/// Wrong: status stays as it was, all green, for as long as passes fail.
#[test]
fn what_was_well_is_not_known_to_be_when_a_pass_ends_early() {
    use ConditionType::{ClassResolved, DatabaseReady, LedgerAdopted, Open, Ready, Reconciling};
    let mut campaign = Scene::open().campaign;
    campaign.status = Some(stored(&status_with(&Scene::open().issued(10).stored(10), 3, None, Some(7), NOW)));
    let gone = ReconcileError::Class(crate::class::ClassError::NotFound("main".to_owned()));
    for (failure, class, text) in [
        (ReconcileError::PassTimeout, "Unknown/PassTimeout", "took too long"),
        (gone, "False/ClassNotFound", "apply it again, as it was"),
    ] {
        let status = blind(&campaign, &failure, NOW);
        let reason = failure.reason();
        for (condition, expected) in [
            (Ready, format!("False/{reason}")),
            (Reconciling, format!("True/{reason}")),
            (ClassResolved, class.to_owned()),
            (Open, format!("Unknown/{reason}")),
            (DatabaseReady, format!("Unknown/{reason}")),
            (LedgerAdopted, "True/LedgerNotEmpty".to_owned()),
        ] {
            assert_eq!(says(&status, condition), expected, "{condition}");
        }
        assert!(message(&status, Ready).contains(text), "{}", message(&status, Ready));
        assert_eq!((status.issued, status.persisted), (Some(10), Some(10)));
        campaign.status = Some(stored(&status));
        assert_eq!(blind(&campaign, &failure, LATER), stored(&status), "nothing new, nothing to write");
    }
}

/// Wrong: an object that is Terminating for ever is Ready, and nobody says what it waits for.
#[test]
fn a_deletion_that_waits_says_what_for_and_how_to_let_it_go() {
    use ConditionType::{ClassResolved, Open, Ready, Reconciling, TopicReady};
    let denied = || {
        ReconcileError::Kafka(campaign::log::admin::AdminError::NotAuthorized {
            resource: "topic shop.events".to_owned(),
            cause: "Authorization failed.".to_owned(),
        })
    };
    let gone = ReconcileError::Class(crate::class::ClassError::NotFound("main".to_owned()));
    let mut object = Scene::open().campaign;
    object.metadata.generation = Some(8);
    object.status = Some(stored(&status_of(&Scene::open())));
    for (waits_for, closed, ready, open, text) in [
        (Leaving::Going, false, "False/Deleting", "Unknown/Deleting", "issuing is being closed"),
        (Leaving::Going, true, "False/Deleting", "False/Deleting", "what is left in the log"),
        (Leaving::Pods(2), true, "False/PodsEnding", "False/Deleting", "2 pods of it have not ended"),
        (Leaving::Failed(&denied()), true, "False/KafkaNotAuthorized", "False/Deleting", "topic shop.events"),
        (Leaving::Failed(&gone), false, "False/ClassNotFound", "Unknown/ClassNotFound", "apply it again"),
    ] {
        let status = status_while_leaving(&object, &waits_for, closed, NOW);
        assert_eq!((status.phase, status.observed_generation), (Some(Phase::Draining), Some(8)));
        assert_eq!((says(&status, Ready).as_str(), says(&status, Open).as_str()), (ready, open), "{waits_for:?}");
        assert_eq!(says(&status, Reconciling), ready.replace("False", "True"));
        let said = message(&status, Ready);
        assert!(said.contains(text), "{said}");
        let says_release = said.contains("kubectl annotate couponcampaign spring coupon-operator.io/release=true");
        assert_eq!(says_release, !matches!(waits_for, Leaving::Going), "{said}");
    }
    let status = status_while_leaving(&object, &Leaving::Failed(&denied()), true, NOW);
    assert_eq!(says(&status, TopicReady), "False/KafkaNotAuthorized");
    let status = status_while_leaving(&object, &Leaving::Failed(&gone), false, NOW);
    assert_eq!(says(&status, ClassResolved), "False/ClassNotFound");
}
