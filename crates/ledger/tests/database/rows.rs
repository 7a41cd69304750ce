//! Rows of winners: which are stored, which are refused, and how they are read.

use std::collections::{BTreeMap, BTreeSet};

use coupon_core::event::{CouponIssued, EPOCHS_AHEAD};
use coupon_core::identity::{RequestKey, UserId};
use coupon_core::position::Position;
use coupon_ledger::database::{self, CampaignRowId, DatabaseError, Fault, LoggedWinner, RowOutcome, StoreMode, Stored};
use coupon_testing::servers;
use sqlx::mysql::MySqlPoolOptions;

use super::ledger::{Ledger, all_stored, url};

#[tokio::test]
async fn new_rows_and_rows_that_are_there_are_told_apart() {
    let ledger = Ledger::new(100).await;
    let [one, two, three] = [1, 2, 3].map(|rank| ledger.winner(rank, &format!("u{rank}"), 1));
    let fresh = ledger.store(&[two.clone(), one.clone()]).await;
    assert_eq!(fresh, Stored { outcomes: all_stored(2), duplicates: vec![] });
    // The same grant with another epoch and key is the same grant; the first row stands.
    let repeated = CouponIssued { epoch: 2, request_key: RequestKey::new("other").unwrap(), ..one.clone() };
    let mixed = ledger.store(&[three.clone(), repeated, three.clone(), two.clone()]).await;
    assert_eq!(mixed, Stored { outcomes: all_stored(4), duplicates: vec![1, 2, 3] });
    let rows = database::read_rows(&ledger.pool, &ledger.campaign, ledger.id, 0, 10).await.unwrap();
    assert_eq!(rows, [one, two, three]);
    assert_eq!(ledger.store(&[]).await, Stored { outcomes: vec![], duplicates: vec![] });
}

/// Wrong: a second winner of a rank, or a second n-th coupon of a user, displaces the first or is told that it is stored.
#[tokio::test]
async fn the_first_row_stands() {
    let ledger = Ledger::new(100).await;
    ledger.store(&[ledger.winner(1, "anna", 1), ledger.winner(2, "bob", 1)]).await;
    let stored = ledger
        .store(&[
            ledger.winner(1, "carl", 1), // anna's rank
            ledger.winner(3, "anna", 1), // anna has her first coupon
            ledger.winner(1, "anna", 2), // her rank, but it is her first, not her second
            ledger.winner(4, "anna", 2), // her second
            ledger.winner(5, "dora", 1),
            ledger.winner(5, "emil", 1), // the same rank twice in one batch
        ])
        .await;
    use RowOutcome::{Conflict, Stored as Row};
    assert_eq!(stored.outcomes, [Conflict, Conflict, Conflict, Row, Row, Conflict]);
    let expected = [(1, "anna"), (2, "bob"), (4, "anna"), (5, "dora")];
    assert_eq!(ledger.rows().await, expected.map(|(rank, user)| (rank, user.to_owned())));
}

/// Wrong: who asks again is told a rank that another user's row has, or one of another campaign whose row has the number that somebody remembers.
#[tokio::test]
async fn only_the_very_row_of_this_campaign_says_that_a_winner_is_stored() {
    let (ledger, other) = (Ledger::new(100).await, Ledger::new(100).await);
    ledger.store(&[ledger.winner(1, "anna", 1), ledger.winner(2, "bob", 2)]).await;
    other.store(&[other.winner(3, "carl", 1)]).await;
    let asked =
        [(1, "anna", 1), (2, "bob", 2), (2, "bob", 1), (1, "bob", 1), (2, "anna", 1), (3, "carl", 1), (4, "dora", 1)];
    let asked = asked.map(|(rank, user, n)| ledger.winner(rank, user, n));
    let found = database::are_rows(&ledger.pool, &ledger.campaign, &asked).await.unwrap();
    assert_eq!(found, [true, true, false, false, false, false, false]);
    assert_eq!(database::are_rows(&ledger.pool, &ledger.campaign, &[]).await.unwrap(), [false; 0]);
}

#[tokio::test]
async fn a_rank_above_the_total_is_never_stored() {
    let ledger = Ledger::new(2).await;
    let winners = [1, 2, 3, 1_000_000].map(|rank| ledger.winner(rank, &format!("u{rank}"), 1));
    let above = RowOutcome::AboveTotal { total: 2 };
    for stored in [ledger.store(&winners).await, ledger.store(&winners).await] {
        assert_eq!(stored.outcomes, [RowOutcome::Stored, RowOutcome::Stored, above.clone(), above.clone()]);
    }
    assert_eq!(ledger.rows().await.len(), 2);
}

/// Wrong: the insert of an issuer that was fenced commits after the ledger was read.
#[tokio::test]
async fn a_direct_insert_needs_the_epoch_of_its_grant() {
    let ledger = Ledger::new(100).await;
    let epoch = database::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    let ours = CouponIssued { epoch, ..ledger.winner(1, "anna", 1) };
    assert_eq!(ledger.direct(std::slice::from_ref(&ours)).await.outcomes, all_stored(1));
    database::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    let late = CouponIssued { epoch, ..ledger.winner(2, "bob", 1) };
    let stored = ledger.direct(&[late, ours]).await;
    assert_eq!(stored.outcomes, [RowOutcome::Void, RowOutcome::Void]);
    assert_eq!(ledger.rows().await.len(), 1);
}

/// A repair holds the rank of such a record for free: a row of it would stand in the way of who gets that rank next.
#[tokio::test]
async fn a_record_of_an_epoch_that_nobody_can_have_allotted_is_void() {
    let ledger = Ledger::new(100).await;
    let newest = database::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    let ahead = |rank: u64, by: u64| CouponIssued { epoch: newest + by, ..ledger.winner(rank, &format!("u{rank}"), 1) };
    let stored = ledger.store(&[ahead(1, EPOCHS_AHEAD), ahead(2, EPOCHS_AHEAD + 1), ahead(3, 1 << 52)]).await;
    assert_eq!(stored.outcomes, [RowOutcome::Stored, RowOutcome::Void, RowOutcome::Void]);
}

/// Wrong: the barrier is taken for that of another topic of the same name.
#[tokio::test]
async fn a_barrier_voids_late_records_of_its_topic_only() {
    let ledger = Ledger::new(100).await;
    database::set_topic(&ledger.pool, ledger.id, "old", "cluster").await.unwrap();
    for _ in 0..2 {
        database::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    }
    let ends = BTreeMap::from([(0, 1)]);
    database::commit_barrier(&ledger.pool, ledger.id, 2, "old", &ends).await.unwrap();
    let winners = [1, 2].map(|rank| ledger.winner(rank, &format!("u{rank}"), 1));
    assert_eq!(ledger.store(&winners).await.outcomes, [RowOutcome::Stored, RowOutcome::Void]);
    database::set_topic(&ledger.pool, ledger.id, "new", "cluster").await.unwrap();
    assert_eq!(ledger.store(&winners).await.outcomes, all_stored(2), "no barrier belongs to the new topic");
}

/// Wrong: a collation decides that two users are one, and one of them goes without.
#[tokio::test]
async fn users_are_compared_as_bytes() {
    let ledger = Ledger::new(100).await;
    let users = ["anna", "Anna", "anna ", " anna", "ánna", "a\u{301}nna", "strasse", "straße", "😀"];
    let winners: Vec<_> = users.iter().zip(1..).map(|(user, rank)| ledger.winner(rank, user, 1)).collect();
    assert_eq!(ledger.store(&winners).await, Stored { outcomes: all_stored(users.len()), duplicates: vec![] });
    for (user, rank) in users.iter().zip(1..) {
        let held =
            database::held_by(&ledger.pool, &ledger.campaign, ledger.id, &UserId::new(*user).unwrap()).await.unwrap();
        assert_eq!(held.iter().map(|coupon| coupon.rank).collect::<Vec<_>>(), [rank], "{user:?}");
    }
}

/// Wrong: during a rebalance two consumers deadlock, or one of them takes the other's rows for conflicts.
#[tokio::test(flavor = "multi_thread")]
async fn overlapping_batches_can_be_stored_side_by_side() {
    let ledger = Ledger::new(10_000).await;
    let batch = |from: u64| -> Vec<CouponIssued> {
        let mut winners: Vec<_> = (from..from + 500).map(|rank| ledger.winner(rank, &format!("u{rank}"), 1)).collect();
        // Not in the order of ranks: records of several partitions are mixed.
        winners.sort_by_key(|winner| winner.rank % 7);
        winners
    };
    let batches: Vec<_> = (0..8u64).map(|i| batch(1 + i / 2 * 250 + i % 2)).collect();
    let store = async |winners: &Vec<CouponIssued>| {
        let logged: Vec<_> = winners
            .iter()
            .map(|event| LoggedWinner { event: event.clone(), position: Position { partition: 0, offset: 0 } })
            .collect();
        // A lost race for a lock is allowed, and tried again, as the consumer does.
        for _ in 0..20 {
            match database::store(&ledger.pool, ledger.id, StoreMode::Logged(&logged)).await {
                Err(error) if error.fault() == Fault::Contention => {}
                result => return result.unwrap(),
            }
        }
        panic!("twenty deadlocks in a row");
    };
    let stored = futures::future::join_all(batches.iter().map(store)).await;
    assert!(stored.iter().all(|stored| stored.outcomes == all_stored(500)), "nobody is in conflict");
    assert_eq!(database::count_stored(&ledger.pool, ledger.id, 0).await.unwrap(), (1251, 1251));
}

#[tokio::test]
async fn rows_are_counted_and_read_from_a_rank_on() {
    let ledger = Ledger::new(100).await;
    assert_eq!(database::count_stored(&ledger.pool, ledger.id, 0).await.unwrap(), (0, 0));
    assert_eq!(database::count_stored(&ledger.pool, ledger.id, 9).await.unwrap(), (0, 9), "nothing above");
    let winners: Vec<_> = [1, 2, 4, 9].map(|rank| ledger.winner(rank, "anna", rank as u32)).into();
    ledger.store(&winners).await;
    assert_eq!(database::count_stored(&ledger.pool, ledger.id, 0).await.unwrap(), (4, 9));
    assert_eq!(database::count_stored(&ledger.pool, ledger.id, 2).await.unwrap(), (2, 9));
    let read = async |above, count| {
        let rows = database::read_rows(&ledger.pool, &ledger.campaign, ledger.id, above, count).await.unwrap();
        rows.into_iter().map(|row| row.rank).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 2).await, [1, 2]);
    assert_eq!(read(2, 10).await, [4, 9]);
    assert!(read(9, 10).await.is_empty());
    let anna = UserId::new("anna").unwrap();
    let mut held = database::held_by(&ledger.pool, &ledger.campaign, ledger.id, &anna).await.unwrap();
    held.iter_mut().zip(&winners).for_each(|(row, winner)| row.issued_count = winner.issued_count);
    assert_eq!(held, winners, "every field but the issued count comes back");
}

/// Wrong: what somebody must change looks like an outage, or an outage like a bad record.
#[tokio::test]
async fn errors_say_whose_fault_they_are() {
    let ledger = Ledger::new(1).await;
    let gone = database::store(&ledger.pool, CampaignRowId(u64::MAX), StoreMode::Logged(&[])).await.unwrap_err();
    assert!(matches!(gone, DatabaseError::NoCampaign(_)) && gone.fault() == Fault::Schema, "{gone}");

    let fault = async |change: &dyn Fn(&mut coupon_core::connections::Database)| {
        let mut settings = servers::database(&url());
        change(&mut settings);
        database::find(&database::connect(&settings, 1), &ledger.campaign).await.unwrap_err().fault()
    };
    assert_eq!(fault(&|settings| settings.login.password = "wrong".into()).await, Fault::Denied);
    let other = fault(&|settings| settings.name = "no_such_database".into()).await;
    assert!(matches!(other, Fault::Schema | Fault::Denied), "{other:?}");
    // The port of `discard`, on which nobody listens, and which nobody is given who asks for a free one.
    assert_eq!(fault(&|settings| settings.port = 9).await, Fault::Away);

    let empty = MySqlPoolOptions::new().connect_lazy(&url()).unwrap();
    empty.close().await;
    assert_eq!(database::find(&empty, &ledger.campaign).await.unwrap_err().fault(), Fault::Away);
}

/// Wrong: grants that were given up are read all at once, however many there are; or a page leaves one out.
#[tokio::test]
async fn grants_that_were_given_up_are_read_a_page_at_a_time() {
    let ledger = Ledger::new(100).await;
    for rank in [9, 2, 5] {
        database::discard(&ledger.pool, ledger.id, &ledger.winner(rank, &format!("u{rank}"), 1), "why").await.unwrap();
    }
    let page = async |above| {
        let grants = database::discarded(&ledger.pool, &ledger.campaign, ledger.id, above, 2).await.unwrap();
        let ranks: Vec<u64> = grants.iter().map(|grant| grant.rank).collect();
        assert_eq!(database::discarded_ranks(&ledger.pool, ledger.id, above, 2).await.unwrap(), ranks);
        ranks
    };
    assert_eq!((page(0).await, page(5).await, page(9).await), (vec![2, 5], vec![9], vec![]));
}

/// Wrong: a record that is read again brings back who was forgotten, or makes their coupon a dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_forgotten_stays_forgotten_whatever_is_read_again() {
    let ledger = Ledger::new(100).await;
    let (anna, first, second) = (UserId::new("anna").unwrap(), database::new_pseudonym(), database::new_pseudonym());
    let winners = [ledger.winner(1, "anna", 1), ledger.winner(2, "bob", 1)];
    ledger.store(&winners).await;
    let forget = async |ranks: &[u64], fresh: &UserId| {
        let ranks: BTreeSet<u64> = ranks.iter().copied().collect();
        database::forget(&ledger.pool, ledger.id, &anna, &ranks, fresh).await.unwrap()
    };
    // Rank 3 is won, and no row yet.
    let both = BTreeMap::from([(1, first.clone()), (3, first.clone())]);
    assert_eq!(forget(&[1, 3], &first).await, both);
    assert_eq!(forget(&[1, 3], &second).await, both, "twice changes nothing");
    let bob = (2, "bob".to_owned());
    assert_eq!(ledger.rows().await, [(1, first.to_string()), bob.clone()]);

    let [again, others] = winners;
    let third = ledger.winner(3, "anna", 2);
    let stored = ledger.store(&[again.clone(), others, third.clone()]).await;
    assert_eq!(stored, Stored { outcomes: all_stored(3), duplicates: vec![0, 1] });
    let direct = ledger.direct(&[CouponIssued { epoch: 0, ..third }]).await;
    assert_eq!(direct, Stored { outcomes: all_stored(1), duplicates: vec![0] });
    assert_eq!(ledger.rows().await, [(1, first.to_string()), bob.clone(), (3, first.to_string())]);
    let stranger = CouponIssued { user_id: UserId::new("carl").unwrap(), ..again };
    assert_eq!(ledger.store(&[stranger]).await.outcomes, [RowOutcome::Conflict]);

    // Who comes back is somebody new, also to the next forgetting.
    assert_eq!(ledger.store(&[ledger.winner(4, "anna", 1)]).await.outcomes, all_stored(1));
    assert_eq!(database::ranks_of(&ledger.pool, ledger.id, &anna).await.unwrap(), BTreeMap::from([(4, 1)]));
    assert_eq!(forget(&[1, 4], &second).await, BTreeMap::from([(1, first.clone()), (4, second.clone())]));
    let rows = database::read_rows(&ledger.pool, &ledger.campaign, ledger.id, 0, 10).await.unwrap();
    let named: Vec<_> = rows.iter().map(|row| (row.user_id.as_str(), row.request_key.as_str())).collect();
    let (first, second) = (first.as_str(), second.as_str());
    assert_eq!(named, [(first, first), ("bob", "bob-1"), (first, first), (second, second)]);
    assert!(database::campaigns_of(&ledger.pool, "test").await.unwrap().contains(&ledger.campaign));
}
