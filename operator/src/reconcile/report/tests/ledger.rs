//! What status says of rows, dead letters and winners.

use super::*;

/// Wrong: a letter of a later version is there, and all is green until a repair closes the sale for good; or Kafka is blamed then, beside a
/// ledger of which all is known.
#[test]
fn a_letter_that_no_repair_gets_past_is_said_before_one_is_needed() {
    use ConditionType::{KafkaReady, LedgerConsistent, Ready, RedisKeysReady};
    let at = Position { partition: 1, offset: 7 };
    let newer = || Newer { what: "the record", found: 2, known: 1 };
    let unread = |scene: Scene| scene.dead_letters_unread(DeadUnread::Newer { at, newer: newer() });
    let sale = || Scene::open().issued(10).stored(10);
    let warned = status_of(&unread(sale()));
    assert_eq!(says(&warned, LedgerConsistent), "Unknown/NewerRecord");
    assert_eq!(says(&warned, Ready), "True/AllChecksPassed", "people are served");
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
        [Ready, RedisKeysReady, KafkaReady, LedgerConsistent].map(|condition| says(&stopped, condition)),
        ["False/NewerRecord", "False/NewerRecord", "True/Available", "Unknown/NewerRecord"]
    );
    let failed =
        status_of(&sale().dead_letters_unread(DeadUnread::Failed("dead letters could not be read: x".to_owned())));
    assert_eq!(says(&failed, LedgerConsistent), "Unknown/DeadLettersUnread");
    assert_eq!(message(&failed, Ready), "all is as it should be at this time", "the next look may read them");
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

/// Wrong: people are told for hours, while nobody reads the log, that winners are in Redis only which are in the log.
#[test]
fn winners_that_are_published_again_are_in_the_log() {
    for (published, unconfirmed) in [(0, Some(3)), (2, Some(1)), (3, None)] {
        let scan = ScanResult { missing: 3, oldest_ms: Some(0), published };
        let lasting = Lasting { scan, ..Lasting::default() };
        let status = status_while(&Scene::open().issued(10).stored(6).lag(4), 3, None, None, NOW, lasting);
        assert_eq!(says(&status, ConditionType::LedgerConsistent), "False/WinnersMissing");
        assert_eq!(status.unconfirmed, unconfirmed, "{published} of 3 published");
    }
}

/// Wrong: a row that is nobody's stands for the one that is missing, and all is said to be stored.
#[test]
fn counts_alone_prove_nothing_and_rows_that_are_nobodys_are_said() {
    use ConditionType::LedgerConsistent;
    let all = || Scene::open().issued(10).stored(10);
    let foreign = |scene: Scene| scene.with(|s| s.foreign_row(5_000));
    let compared = Some(ComparisonStatus { proves: true, suspect: None });
    let forged = |scene: Scene| scene.with(|s| (s.kafka().dead_letters, s.kafka().contradicted) = (Some(1), Some(1)));
    for (what, scene, compared, expected, part) in [
        ("compared", all(), compared, "True/AllStored", "every winner is a row"),
        ("counted", all(), Some(ComparisonStatus::default()), "True/AllCounted", "as many rows as winners"),
        ("differs", all(), Some(ComparisonStatus { proves: true, suspect: Some(7) }), "Unknown/NotCompared", "rank 7"),
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
    let remembered = crate::reconcile::observation_cache::rows_in_status(&next.campaign, &fixtures::id());
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
    assert_eq!(crate::reconcile::observation_cache::rows_in_status(&other.campaign, &fixtures::id()), 0);
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
