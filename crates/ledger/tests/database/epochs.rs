//! Epochs with their barriers, and changes of terms: what was overtaken does nothing.

use std::collections::BTreeMap;

use coupon_core::event::{EPOCHS_AHEAD, MAX_NUMBER};
use coupon_core::position::{Position, RecordPlace};
use coupon_ledger::database::{self, DatabaseError, EpochCommit, Fault, Heir, LedgerNumbers, RowOutcome, TotalSet};

use super::ledger::{Ledger, all_stored};

/// Wrong: two histories share an epoch, and a late record of the one passes for one of the other.
#[tokio::test(flavor = "multi_thread")]
async fn epochs_only_rise_and_are_never_given_twice() {
    let ledger = Ledger::new(100).await;
    assert_eq!(database::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap(), 1);
    assert_eq!(database::allot_epoch(&ledger.pool, ledger.id, 6).await.unwrap(), 7, "above what others have seen");
    assert_eq!(database::allot_epoch(&ledger.pool, ledger.id, 2).await.unwrap(), 8, "and above what SQL has");
    // One that somebody wrote into Redis would be the last that records may have, and their winners would have no row.
    for absurd in [8 + EPOCHS_AHEAD + 1, MAX_NUMBER, u64::MAX] {
        let before = ledger.row().await.epoch;
        assert_eq!(
            database::allot_epoch(&ledger.pool, ledger.id, absurd).await.unwrap(),
            before + 1,
            "{absurd} is not believed"
        );
    }
    let together = (0..8).map(|_| database::allot_epoch(&ledger.pool, ledger.id, 0));
    let mut allotted: Vec<_> =
        futures::future::join_all(together).await.into_iter().map(|epoch| epoch.unwrap()).collect();
    allotted.sort_unstable();
    assert_eq!(allotted, (12..=19).collect::<Vec<_>>());
    // Nor is there one above the highest that records may have.
    sqlx::query("UPDATE campaign SET epoch = ? WHERE id = ?")
        .bind(MAX_NUMBER)
        .bind(ledger.id.0)
        .execute(&ledger.pool)
        .await
        .unwrap();
    let refused = database::allot_epoch(&ledger.pool, ledger.id, 0).await;
    let expected = matches!(refused, Err(DatabaseError::NumbersUsedUp { column: "epoch", number: MAX_NUMBER }));
    assert!(expected, "{refused:?}");
}

/// Wrong: one that somebody wrote into Redis becomes the ledger's last when the ledger is taken over: no epoch can follow it.
#[tokio::test]
async fn taking_over_follows_no_epoch_that_nobody_can_have_allotted() {
    let ledger = Ledger::new(100).await;
    let of = |cluster: &'static str| Heir { cluster, uid: cluster };
    assert!(database::claim(&ledger.pool, &ledger.row().await, of("a"), false).await.unwrap());
    for (heir, known, expected) in
        [("b", MAX_NUMBER, 1), ("a", 2 + EPOCHS_AHEAD, 2), ("b", 2 + EPOCHS_AHEAD, 3 + EPOCHS_AHEAD)]
    {
        assert!(database::take_over(&ledger.pool, &ledger.row().await, of(heir), known, false).await.unwrap());
        assert_eq!(ledger.row().await.epoch, expected, "{heir} {known}");
    }
}

/// Wrong: an operator that was overtaken opens the campaign under an epoch that is being repaired.
#[tokio::test]
async fn only_the_newest_epoch_gets_a_barrier_and_opens() {
    let ledger = Ledger::new(100).await;
    let ends = BTreeMap::from([(0, 10), (1, 0)]);
    let first = database::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    assert_eq!(database::open_epoch(&ledger.pool, ledger.id, first).await.unwrap(), EpochCommit::Done);
    assert_eq!(ledger.row().await.open_epoch, Some(first));
    let second = database::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    assert_eq!(ledger.row().await.open_epoch, None, "a new epoch closes the campaign");

    let barrier = async |epoch| database::commit_barrier(&ledger.pool, ledger.id, epoch, "topic", &ends).await.unwrap();
    assert_eq!(barrier(first).await, EpochCommit::Superseded);
    assert_eq!(database::open_epoch(&ledger.pool, ledger.id, first).await.unwrap(), EpochCommit::Superseded);
    let nothing = database::barriers(&ledger.pool, ledger.id, "topic").await.unwrap();
    assert!(!nothing.voids(0, 0, 10), "a superseded barrier leaves nothing behind");

    assert_eq!(barrier(second).await, EpochCommit::Done);
    let barriers = database::barriers(&ledger.pool, ledger.id, "topic").await.unwrap();
    assert!(barriers.voids(first, 0, 10) && !barriers.voids(first, 0, 9) && !barriers.voids(second, 0, 10));
    assert!(!database::barriers(&ledger.pool, ledger.id, "another").await.unwrap().voids(first, 0, 10));
    assert_eq!(database::open_epoch(&ledger.pool, ledger.id, second).await.unwrap(), EpochCommit::Done);
}

/// Wrong: a barrier that somebody writes makes every record void, and their ranks are given to others once Redis is lost.
#[tokio::test]
async fn nothing_is_judged_by_a_barrier_of_an_epoch_that_was_never_allotted() {
    let ledger = Ledger::new(100).await;
    let (pool, id) = (&ledger.pool, ledger.id);
    database::set_topic(pool, id, "topic", "cluster").await.unwrap();
    let (owner, heir) = (Heir { cluster: "a", uid: "a" }, Heir { cluster: "b", uid: "b" });
    assert!(database::claim(pool, &ledger.row().await, owner, false).await.unwrap());
    let winners = [ledger.winner(1, "anna", 1)];
    let is_named = |epoch, newest, error: &DatabaseError| {
        matches!(error, DatabaseError::BarrierAhead { campaign, epoch: e, newest: n } if (*campaign, *e, *n) == (id.0, epoch, newest))
            && error.fault() == Fault::Schema
    };
    for (ahead, topic) in [(1, "topic"), (1_000, "topic"), (7, "another")] {
        let forged =
            "INSERT INTO epoch_barrier (campaign_id, epoch, topic_id, partition_id, end_offset) VALUES (?, ?, ?, 0, 0)";
        let newest = ledger.row().await.epoch;
        let epoch = newest + ahead;
        sqlx::query(forged).bind(id.0).bind(epoch).bind(topic.as_bytes()).execute(pool).await.unwrap();
        let refused = database::allot_epoch(pool, id, 0).await.unwrap_err();
        assert!(is_named(epoch, newest, &refused), "{refused}");
        let taken = database::take_over(pool, &ledger.row().await, heir, 0, false).await.unwrap_err();
        assert!(is_named(epoch, newest, &taken), "{taken}");
        if topic == "topic" {
            let judged = database::barriers(pool, id, topic).await.unwrap_err();
            assert!(is_named(epoch, newest, &judged), "{judged}");
            let stored = ledger.try_store(&winners).await.unwrap_err();
            assert!(is_named(epoch, newest, &stored), "{stored}");
        }
        assert_eq!(database::count_stored(pool, id, 0).await.unwrap(), (0, 0), "nothing is stored, and nothing void");
        // Somebody who knows of an epoch as high has seen the allotment that the row has forgotten.
        let allotted = database::allot_epoch(pool, id, epoch).await.unwrap();
        assert_eq!(allotted, epoch + 1);
        let behind = "DELETE FROM epoch_barrier WHERE campaign_id = ? AND epoch = ?";
        sqlx::query(behind).bind(id.0).bind(epoch).execute(pool).await.unwrap();
    }
    assert_eq!(ledger.store(&winners).await.outcomes, [RowOutcome::Stored]);
}

/// Wrong: who takes a ledger over while its owner begins an epoch hears that somebody has written that epoch's barrier.
#[tokio::test]
async fn the_barrier_of_an_epoch_that_an_old_row_does_not_know_is_no_fault_of_a_take_over() {
    let ledger = Ledger::new(100).await;
    let pool = &ledger.pool;
    let of = |cluster: &'static str| Heir { cluster, uid: cluster };
    assert!(database::claim(pool, &ledger.row().await, of("a"), false).await.unwrap());
    let old = ledger.row().await;
    let epoch = database::allot_epoch(pool, ledger.id, 0).await.unwrap();
    database::commit_barrier(pool, ledger.id, epoch, "topic", &BTreeMap::from([(0, 0)])).await.unwrap();
    assert!(!database::take_over(pool, &old, of("b"), 0, false).await.unwrap(), "it is not as in that row any more");
    assert!(database::take_over(pool, &ledger.row().await, of("b"), 0, false).await.unwrap());
}

/// Wrong: what people have given up is a row after all, once a program can read it; or a topic that was made anew loses what lies there.
#[tokio::test]
async fn a_record_that_was_given_up_is_void_in_its_topic_only() {
    let ledger = Ledger::new(100).await;
    let (pool, id) = (&ledger.pool, ledger.id);
    database::set_topic(pool, id, "topic", "cluster").await.unwrap();
    let at = Position { partition: 0, offset: 1 };
    let place = RecordPlace { topic_id: "topic".to_owned(), at };
    database::discard_record(pool, id, &place, "NewerRecord").await.unwrap();
    database::discard_record(pool, id, &place, "and once more, with more words than there is room for").await.unwrap();
    assert!(database::is_discarded(pool, id, at).await.unwrap());
    assert!(database::barriers(pool, id, "topic").await.unwrap().has_discarded(at));
    let winners = [ledger.winner(1, "anna", 1), ledger.winner(2, "bert", 1), ledger.winner(3, "carl", 1)];
    let stored = ledger.store(&winners).await;
    assert_eq!(stored.outcomes, [RowOutcome::Stored, RowOutcome::Void, RowOutcome::Stored]);

    database::set_topic(pool, id, "another", "cluster").await.unwrap();
    assert!(!database::is_discarded(pool, id, at).await.unwrap());
    assert!(database::discarded_records(pool, id, "another").await.unwrap().is_empty());
    assert_eq!(ledger.store(&winners).await.outcomes, all_stored(3));
}

/// Wrong: a smaller total makes coupons illegal that were promised.
#[tokio::test]
async fn the_total_does_not_fall_below_the_highest_rank() {
    let ledger = Ledger::new(10).await;
    ledger.store(&[ledger.winner(7, "anna", 1)]).await;
    for (total, outcome, then) in [(6, TotalSet::BelowStored, 10), (7, TotalSet::Done, 7), (20, TotalSet::Done, 20)] {
        let number = database::allot_terms(&ledger.pool, &ledger.row().await, 0).await.unwrap();
        let set = database::set_total(&ledger.pool, ledger.id, number.unwrap(), total).await.unwrap();
        assert_eq!((set, ledger.row().await.total), (outcome, then), "{total}");
    }
}

/// Wrong: whoever may write into Redis uses up the numbers of terms with one write, and no epoch can be opened ever after.
#[tokio::test]
async fn a_number_of_terms_that_nobody_gave_is_not_followed() {
    let ledger = Ledger::new(10).await;
    for (known, expected) in
        [(3, 4), (MAX_NUMBER, 5), (u64::MAX, 6), (7 + EPOCHS_AHEAD, 7), (7 + EPOCHS_AHEAD, 8 + EPOCHS_AHEAD)]
    {
        let number = database::allot_terms(&ledger.pool, &ledger.row().await, known).await.unwrap();
        assert_eq!(number, Some(expected), "{known}");
    }
    assert!(database::begin_epoch(&ledger.pool, &ledger.row().await, 0).await.unwrap().is_some());
}

/// Wrong: an operator that stalled changes what a newer one has decided since, and ranks are given above the total.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_terms_that_was_overtaken_does_nothing() {
    let ledger = Ledger::new(10).await;
    let (pool, id) = (&ledger.pool, ledger.id);
    let seen = ledger.row().await;
    let together = (0..8).map(|_| database::allot_terms(pool, &seen, 0));
    let given: Vec<u64> = futures::future::join_all(together).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(given, [1], "of those who have seen the same, one goes on");

    let seen = ledger.row().await;
    assert_eq!(database::set_total(pool, id, 1, 11).await.unwrap(), TotalSet::Done);
    assert_eq!(database::allot_terms(pool, &seen, 0).await.unwrap(), None, "the total is another one");
    assert_eq!(database::begin_epoch(pool, &seen, 0).await.unwrap(), None);
    let seen = ledger.row().await;
    assert_eq!(database::allot_terms(pool, &seen, 0).await.unwrap(), Some(2));
    assert_eq!(database::set_total(pool, id, 1, 20).await.unwrap(), TotalSet::Superseded);
    assert_eq!(ledger.row().await.total, 11);
    assert_eq!(database::set_total(pool, id, 2, 15).await.unwrap(), TotalSet::Done);

    assert_eq!(database::begin_epoch(pool, &seen, 0).await.unwrap(), None, "it would bring older terms to Redis");
    let begun = database::begin_epoch(pool, &ledger.row().await, 4).await.unwrap();
    assert_eq!(begun, Some(LedgerNumbers { epoch: 5, terms: 3, total: 15 }));
    assert_eq!(database::set_total(pool, id, 2, 12).await.unwrap(), TotalSet::Superseded, "Redis gets the total of 3");
    assert_eq!(database::allot_epoch(pool, id, 0).await.unwrap(), 6);
    let row = ledger.row().await;
    assert_eq!((row.total, row.terms_number, row.epoch, row.open_epoch), (15, 4, 6, None));
}
