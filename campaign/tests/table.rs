//! `campaign::table` against a real database. Every test has a campaign of its own, so they run side by side.

// Clippy knows test functions, but not the helpers beside them.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use campaign::event::CouponIssued;
use campaign::identity::{CampaignId, RequestKey, UserId};
use campaign::table::{
    self, CampaignRow, CampaignRowId, Custody, EpochCommit, Fault, Heir, LoggedWinner, Numbers, OpenedWindow, Position,
    RecordPlace, RowOutcome, StoreMode, Stored, TableError, TotalSet, Unfenced,
};
use sqlx::mysql::{MySqlPool, MySqlPoolOptions};

const CONNECTIONS: u32 = 4;

fn url() -> String {
    std::env::var("COUPON_DATABASE")
        .unwrap_or_else(|_| panic!("COUPON_DATABASE is not set: run the tests through `make test`"))
}

async fn pool() -> MySqlPool {
    let settings = settings(&url());
    let pool = table::connect(&settings, CONNECTIONS);
    table::migrate(&pool).await.unwrap();
    pool
}

/// `mysql://user:password@host:port/name`
fn settings(url: &str) -> campaign::settings::Database {
    let parts = || {
        let (login, place) = url.strip_prefix("mysql://")?.split_once('@')?;
        let (username, password) = login.split_once(':')?;
        let (address, name) = place.split_once('/')?;
        let (host, port) = address.split_once(':')?;
        Some(campaign::settings::Database {
            host: host.into(),
            port: port.parse().ok()?,
            name: name.into(),
            login: campaign::settings::Login { username: username.into(), password: password.into() },
            tls: campaign::settings::DatabaseTls::Disabled,
            ca_pem: None,
        })
    };
    parts().unwrap_or_else(|| panic!("COUPON_DATABASE is not mysql://user:password@host:port/name"))
}

fn some_campaign() -> CampaignId {
    CampaignId::with_default_names("test", "table", &format!("c{:016x}", rand::random::<u64>())).unwrap()
}

struct Ledger {
    pool: MySqlPool,
    campaign: CampaignId,
    id: CampaignRowId,
}

impl Ledger {
    async fn new(total: u64) -> Self {
        let (pool, campaign) = (pool().await, some_campaign());
        let id = table::register(&pool, &campaign, total).await.unwrap().id;
        Self { pool, campaign, id }
    }

    fn winner(&self, rank: u64, user: &str, n: u32) -> CouponIssued {
        CouponIssued {
            coupon_id: self.campaign.coupon_id().to_owned(),
            user_id: UserId::new(user).unwrap(),
            rank,
            issued_count: rank,
            occurred_at: "2026-01-01T09:00:00.125Z".parse().unwrap(),
            n,
            epoch: 1,
            request_key: RequestKey::new(format!("{user}-{n}")).unwrap(),
        }
    }

    /// Stores winners as records at offsets 0, 1, ... of partition 0.
    async fn store(&self, winners: &[CouponIssued]) -> Stored {
        let logged: Vec<_> = winners
            .iter()
            .zip(0..)
            .map(|(event, offset)| LoggedWinner { event: event.clone(), position: Position { partition: 0, offset } })
            .collect();
        table::store(&self.pool, self.id, StoreMode::Logged(&logged)).await.unwrap()
    }

    async fn direct(&self, winners: &[CouponIssued]) -> Stored {
        table::store(&self.pool, self.id, StoreMode::Direct(winners)).await.unwrap()
    }

    async fn row(&self) -> CampaignRow {
        table::find(&self.pool, &self.campaign).await.unwrap().unwrap()
    }

    /// Rank and user of each row.
    async fn rows(&self) -> Vec<(u64, String)> {
        let rows = table::read_rows(&self.pool, &self.campaign, self.id, 0, 10_000).await.unwrap();
        rows.into_iter().map(|row| (row.rank, row.user_id.as_str().to_owned())).collect()
    }
}

fn all_stored(count: usize) -> Vec<RowOutcome> {
    vec![RowOutcome::Stored; count]
}

/// Wrong: two operators (or an operator and a test run) that start together fail, or migrate twice.
#[tokio::test(flavor = "multi_thread")]
async fn migrations_run_once_however_many_start_together() {
    let pools: Vec<_> = (0..4).map(|_| table::connect(&settings(&url()), 1)).collect();
    let all = futures::future::join_all(pools.iter().map(table::migrate)).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    table::migrate(&pools[0]).await.unwrap();
    let (done, distinct): (i64, i64) =
        sqlx::query_as("SELECT COUNT(*), COUNT(DISTINCT version) FROM _sqlx_migrations WHERE success")
            .fetch_one(&pools[0])
            .await
            .unwrap();
    assert!(done > 0 && done == distinct);
}

/// Wrong: a manifest that is applied again starts a second ledger, or changes the total behind the operator's back.
#[tokio::test]
async fn registering_again_finds_the_same_row() {
    let ledger = Ledger::new(100).await;
    let again = table::register(&ledger.pool, &ledger.campaign, 5).await.unwrap();
    assert_eq!((again.id, again.total, again.epoch, again.open_epoch), (ledger.id, 100, 0, None));
    assert_eq!(table::find(&ledger.pool, &some_campaign()).await.unwrap(), None);
    let other = CampaignId::with_default_names("test", "table2", ledger.campaign.coupon_id()).unwrap();
    assert_eq!(table::find(&ledger.pool, &other).await.unwrap(), None, "a namespace of its own");
}

#[tokio::test]
async fn what_is_recorded_is_found() {
    let ledger = Ledger::new(100).await;
    assert_eq!(ledger.row().await.topic_id, None);
    table::set_topic(&ledger.pool, ledger.id, "", "cluster").await.unwrap();
    assert_eq!(ledger.row().await.topic_id.as_deref(), Some(""));
    table::set_topic(&ledger.pool, ledger.id, "topic", "cluster").await.unwrap();
    let opened = OpenedWindow { start_ms: 7, end_ms: 70, limit: 1 };
    table::set_opened(&ledger.pool, &ledger.row().await, opened, "User").await.unwrap();
    let later = OpenedWindow { start_ms: 8, end_ms: 80, limit: 2 };
    table::set_opened(&ledger.pool, &ledger.row().await, later, "Campaign").await.unwrap();
    // Whoever stores winners holds the row; the count does not wait for that.
    let mut storing = ledger.pool.begin().await.unwrap();
    let held = sqlx::query("SELECT 1 FROM campaign WHERE id = ? LOCK IN SHARE MODE").bind(ledger.id.0);
    held.fetch_one(&mut *storing).await.unwrap();
    assert!(!table::try_set_issued_count(&ledger.pool, ledger.id, 41).await.unwrap());
    storing.rollback().await.unwrap();
    assert!(table::try_set_issued_count(&ledger.pool, ledger.id, 42).await.unwrap());
    let row = ledger.row().await;
    assert_eq!((row.topic_id.as_deref(), row.kafka_cluster_id.as_deref()), (Some("topic"), Some("cluster")));
    assert_eq!(
        (row.opened_start_ms, row.opened_key_by.as_deref()),
        (Some(7), Some("User")),
        "the first opening stands"
    );
    assert_eq!((row.opened_end_ms, row.opened_user_limit), (Some(80), Some(2)), "end and limit follow");
    assert_eq!(row.issued_count, 42);
}

fn heir(uid: &str) -> Heir<'_> {
    Heir { cluster: "here", uid }
}

/// Wrong: of two objects that claim a ledger at once, both go on with it.
#[tokio::test]
async fn a_ledger_is_claimed_by_one_object_at_a_time() {
    let ledger = Ledger::new(100).await;
    let epoch = table::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    table::open_epoch(&ledger.pool, ledger.id, epoch).await.unwrap();
    let opened = OpenedWindow { start_ms: 7, end_ms: 70, limit: 1 };
    table::set_opened(&ledger.pool, &ledger.row().await, opened, "User").await.unwrap();
    let before = ledger.row().await;
    assert!(table::claim(&ledger.pool, &before, heir("first"), false).await.unwrap());
    assert!(!table::claim(&ledger.pool, &before, heir("second"), true).await.unwrap(), "decided from what is no more");
    let row = ledger.row().await;
    assert_eq!((row.object_uid.as_deref(), row.opened_start_ms, row.open_epoch), (Some("first"), Some(7), Some(epoch)));

    assert!(table::claim(&ledger.pool, &row, heir("second"), true).await.unwrap());
    let row = ledger.row().await;
    assert_eq!(row.object_uid.as_deref(), Some("second"));
    let window = (row.opened_start_ms, row.opened_end_ms, row.opened_user_limit);
    assert_eq!(
        (window, row.open_epoch, row.epoch),
        ((None, None, None), None, epoch),
        "nobody grants under the old window"
    );
    assert_eq!(row.opened_key_by.as_deref(), Some("User"), "records keep their partitions");
    let newer = table::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    assert!(
        !table::claim(&ledger.pool, &row, heir("third"), false).await.unwrap(),
        "epoch {newer} was begun meanwhile"
    );
}

/// Wrong: two clusters with one realm both work on a campaign.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_one_clusters_and_what_its_last_owner_had_decided_is_overtaken() {
    let ledger = Ledger::new(100).await;
    let (pool, id) = (&ledger.pool, ledger.id);
    let of = |cluster: &'static str| Heir { cluster, uid: cluster };
    let nobodys = ledger.row().await;
    assert_eq!(nobodys.custody, Custody::default(), "an older version has made it");
    let claims = ["a", "b", "c", "d"].map(|cluster| table::claim(pool, &nobodys, of(cluster), false));
    let claimed = futures::future::join_all(claims).await;
    assert_eq!(claimed.into_iter().filter(|claimed| *claimed.as_ref().unwrap()).count(), 1);

    let new = CampaignId::with_default_names("test", "table", &format!("c{:016x}", rand::random::<u64>())).unwrap();
    let registering = ["a", "b", "c", "d"].map(|cluster| table::register_in(pool, &new, 100, Some(cluster)));
    let owners = futures::future::join_all(registering).await.into_iter().map(|row| row.unwrap().custody.owner);
    assert_eq!(owners.collect::<BTreeSet<_>>().len(), 1, "all hear of the same owner");

    let row = ledger.row().await;
    let first: &'static str =
        ["a", "b", "c", "d"].into_iter().find(|each| row.custody.owner.as_deref() == Some(each)).unwrap();
    let opened = table::begin_epoch(pool, &row, 0).await.unwrap().unwrap().epoch;
    table::open_epoch(pool, id, opened).await.unwrap();
    // What the owner has read, and goes on with later.
    let stale = ledger.row().await;
    assert!(!table::claim(pool, &stale, of("e"), false).await.unwrap(), "not without being told to");
    assert!(table::take_over(pool, &stale, of("e"), 41, false).await.unwrap());
    assert!(!table::take_over(pool, &stale, of("f"), 0, false).await.unwrap(), "decided from what is no more");
    let row = ledger.row().await;
    assert_eq!((row.epoch, row.open_epoch, row.object_uid.as_deref()), (42, None, Some("e")));
    let unfenced = Unfenced { cluster: first.to_owned(), epoch: Some(opened), closed: false };
    assert_eq!(row.custody, Custody { owner: Some("e".to_owned()), changes: 2, unfenced: Some(unfenced) });
    let window = OpenedWindow { start_ms: 1, end_ms: 2, limit: 1 };
    table::set_opened(pool, &stale, window, "User").await.unwrap();
    assert_eq!(ledger.row().await, row, "a window of before");
    assert_eq!(table::begin_epoch(pool, &stale, 0).await.unwrap(), None);
    assert_eq!(table::allot_terms(pool, &stale).await.unwrap(), None);
    assert_eq!(table::open_epoch(pool, id, opened).await.unwrap(), EpochCommit::Superseded);
    assert!(table::hold(pool, id, first).await.unwrap().is_none());

    // Nor does the new one begin, or get another name, before the issuers of the old one have stopped.
    assert!(!table::rename_owner(pool, &row, "e2").await.unwrap());
    assert_eq!(table::begin_epoch(pool, &row, 0).await.unwrap(), None);
    assert!(!table::take_over(pool, &row, of("f"), 0, false).await.unwrap(), "a third one comes later");
    assert!(table::note_closed(pool, &row).await.unwrap());
    assert!(table::note_fenced(pool, &row).await.unwrap());
    assert!(!table::note_fenced(pool, &row).await.unwrap(), "once");
    let row = ledger.row().await;
    assert_eq!(table::begin_epoch(pool, &row, 0).await.unwrap().map(|numbers| numbers.epoch), Some(43));

    // Back again, before the new one could begin: there is nobody to be waited for.
    let row = ledger.row().await;
    assert!(table::take_over(pool, &row, of("b2"), 0, false).await.unwrap());
    let row = ledger.row().await;
    assert!(table::take_over(pool, &row, of("e"), 0, false).await.unwrap());
    let row = ledger.row().await;
    assert_eq!((row.custody.owner.as_deref(), row.custody.unfenced.clone()), (Some("e"), None));

    // A cluster gets another name: nothing has changed hands.
    assert!(table::rename_owner(pool, &row, "e2").await.unwrap());
    assert!(!table::rename_owner(pool, &row, "e3").await.unwrap(), "decided from what is no more");
    let renamed = ledger.row().await;
    assert_eq!((renamed.custody.owner.as_deref(), renamed.custody.changes), (Some("e2"), row.custody.changes));
    assert!(table::rename_owner(pool, &renamed, "e").await.unwrap());

    let held = table::hold(pool, id, "e").await.unwrap().unwrap();
    let row = ledger.row().await;
    let taking = tokio::spawn({
        let (pool, row) = (pool.clone(), row.clone());
        async move { table::take_over(&pool, &row, Heir { cluster: "g", uid: "g" }, 0, false).await.unwrap() }
    });
    held.let_go().await.unwrap();
    assert!(!taking.await.unwrap(), "it was let go of meanwhile");
    assert!(table::claim(pool, &row, of("g"), false).await.unwrap());
    assert_eq!(ledger.row().await.custody.changes, row.custody.changes + 1);
}

/// Wrong: two histories share an epoch, and a late record of the one passes for one of the other.
#[tokio::test(flavor = "multi_thread")]
async fn epochs_only_rise_and_are_never_given_twice() {
    let ledger = Ledger::new(100).await;
    assert_eq!(table::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap(), 1);
    assert_eq!(table::allot_epoch(&ledger.pool, ledger.id, 6).await.unwrap(), 7, "above what others have seen");
    assert_eq!(table::allot_epoch(&ledger.pool, ledger.id, 2).await.unwrap(), 8, "and above what SQL has");
    let together = (0..8).map(|_| table::allot_epoch(&ledger.pool, ledger.id, 0));
    let mut allotted: Vec<_> =
        futures::future::join_all(together).await.into_iter().map(|epoch| epoch.unwrap()).collect();
    allotted.sort_unstable();
    assert_eq!(allotted, (9..=16).collect::<Vec<_>>());
}

/// Wrong: an operator that was overtaken opens the campaign under an epoch that is being repaired.
#[tokio::test]
async fn only_the_newest_epoch_gets_a_barrier_and_opens() {
    let ledger = Ledger::new(100).await;
    let ends = BTreeMap::from([(0, 10), (1, 0)]);
    let first = table::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    assert_eq!(table::open_epoch(&ledger.pool, ledger.id, first).await.unwrap(), EpochCommit::Done);
    assert_eq!(ledger.row().await.open_epoch, Some(first));
    let second = table::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    assert_eq!(ledger.row().await.open_epoch, None, "a new epoch closes the campaign");

    let barrier = async |epoch| table::commit_barrier(&ledger.pool, ledger.id, epoch, "topic", &ends).await.unwrap();
    assert_eq!(barrier(first).await, EpochCommit::Superseded);
    assert_eq!(table::open_epoch(&ledger.pool, ledger.id, first).await.unwrap(), EpochCommit::Superseded);
    let nothing = table::barriers(&ledger.pool, ledger.id, "topic").await.unwrap();
    assert!(!nothing.voids(0, 0, 10), "a superseded barrier leaves nothing behind");

    assert_eq!(barrier(second).await, EpochCommit::Done);
    let barriers = table::barriers(&ledger.pool, ledger.id, "topic").await.unwrap();
    assert!(barriers.voids(first, 0, 10) && !barriers.voids(first, 0, 9) && !barriers.voids(second, 0, 10));
    assert!(!table::barriers(&ledger.pool, ledger.id, "another").await.unwrap().voids(first, 0, 10));
    assert_eq!(table::open_epoch(&ledger.pool, ledger.id, second).await.unwrap(), EpochCommit::Done);
}

/// Wrong: what people have given up is a row after all, once a program can read it; or a topic that was made anew loses what lies there.
#[tokio::test]
async fn a_record_that_was_given_up_is_void_in_its_topic_only() {
    let ledger = Ledger::new(100).await;
    let (pool, id) = (&ledger.pool, ledger.id);
    table::set_topic(pool, id, "topic", "cluster").await.unwrap();
    let at = Position { partition: 0, offset: 1 };
    let place = RecordPlace { topic_id: "topic".to_owned(), at };
    table::discard_record(pool, id, &place, "NewerRecord").await.unwrap();
    table::discard_record(pool, id, &place, "and once more, with more words than there is room for").await.unwrap();
    assert!(table::is_discarded(pool, id, at).await.unwrap());
    assert!(table::barriers(pool, id, "topic").await.unwrap().has_discarded(at));
    let winners = [ledger.winner(1, "anna", 1), ledger.winner(2, "bert", 1), ledger.winner(3, "carl", 1)];
    let stored = ledger.store(&winners).await;
    assert_eq!(stored.outcomes, [RowOutcome::Stored, RowOutcome::Void, RowOutcome::Stored]);

    table::set_topic(pool, id, "another", "cluster").await.unwrap();
    assert!(!table::is_discarded(pool, id, at).await.unwrap());
    assert!(table::discarded_records(pool, id, "another").await.unwrap().is_empty());
    assert_eq!(ledger.store(&winners).await.outcomes, all_stored(3));
}

/// Wrong: a smaller total makes coupons illegal that were promised.
#[tokio::test]
async fn the_total_does_not_fall_below_the_highest_rank() {
    let ledger = Ledger::new(10).await;
    ledger.store(&[ledger.winner(7, "anna", 1)]).await;
    for (total, outcome, then) in [(6, TotalSet::BelowStored, 10), (7, TotalSet::Done, 7), (20, TotalSet::Done, 20)] {
        let number = table::allot_terms(&ledger.pool, &ledger.row().await).await.unwrap();
        let set = table::set_total(&ledger.pool, ledger.id, number.unwrap(), total).await.unwrap();
        assert_eq!((set, ledger.row().await.total), (outcome, then), "{total}");
    }
}

/// Wrong: an operator that stalled changes what a newer one has decided since, and ranks are given above the total.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_terms_that_was_overtaken_does_nothing() {
    let ledger = Ledger::new(10).await;
    let (pool, id) = (&ledger.pool, ledger.id);
    let seen = ledger.row().await;
    let together = (0..8).map(|_| table::allot_terms(pool, &seen));
    let given: Vec<u64> = futures::future::join_all(together).await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(given, [1], "of those who have seen the same, one goes on");

    let seen = ledger.row().await;
    assert_eq!(table::set_total(pool, id, 1, 11).await.unwrap(), TotalSet::Done);
    assert_eq!(table::allot_terms(pool, &seen).await.unwrap(), None, "the total is another one");
    assert_eq!(table::begin_epoch(pool, &seen, 0).await.unwrap(), None);
    let seen = ledger.row().await;
    assert_eq!(table::allot_terms(pool, &seen).await.unwrap(), Some(2));
    assert_eq!(table::set_total(pool, id, 1, 20).await.unwrap(), TotalSet::Superseded);
    assert_eq!(ledger.row().await.total, 11);
    assert_eq!(table::set_total(pool, id, 2, 15).await.unwrap(), TotalSet::Done);

    assert_eq!(table::begin_epoch(pool, &seen, 0).await.unwrap(), None, "it would bring older terms to Redis");
    let begun = table::begin_epoch(pool, &ledger.row().await, 4).await.unwrap();
    assert_eq!(begun, Some(Numbers { epoch: 5, terms: 3, total: 15 }));
    assert_eq!(table::set_total(pool, id, 2, 12).await.unwrap(), TotalSet::Superseded, "Redis gets the total of 3");
    assert_eq!(table::allot_epoch(pool, id, 0).await.unwrap(), 6);
    let row = ledger.row().await;
    assert_eq!((row.total, row.terms_number, row.epoch, row.open_epoch), (15, 4, 6, None));
}

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
    let rows = table::read_rows(&ledger.pool, &ledger.campaign, ledger.id, 0, 10).await.unwrap();
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
    let epoch = table::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    let ours = CouponIssued { epoch, ..ledger.winner(1, "anna", 1) };
    assert_eq!(ledger.direct(std::slice::from_ref(&ours)).await.outcomes, all_stored(1));
    table::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    let late = CouponIssued { epoch, ..ledger.winner(2, "bob", 1) };
    let stored = ledger.direct(&[late, ours]).await;
    assert_eq!(stored.outcomes, [RowOutcome::Void, RowOutcome::Void]);
    assert_eq!(ledger.rows().await.len(), 1);
}

/// A repair holds the rank of such a record for free: a row of it would stand in the way of who gets that rank next.
#[tokio::test]
async fn a_record_of_an_epoch_that_nobody_can_have_allotted_is_void() {
    let ledger = Ledger::new(100).await;
    let newest = table::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    let ahead = |rank: u64, by: u64| CouponIssued { epoch: newest + by, ..ledger.winner(rank, &format!("u{rank}"), 1) };
    let stored =
        ledger.store(&[ahead(1, table::EPOCHS_AHEAD), ahead(2, table::EPOCHS_AHEAD + 1), ahead(3, 1 << 52)]).await;
    assert_eq!(stored.outcomes, [RowOutcome::Stored, RowOutcome::Void, RowOutcome::Void]);
}

/// Wrong: the barrier is taken for that of another topic of the same name.
#[tokio::test]
async fn a_barrier_voids_late_records_of_its_topic_only() {
    let ledger = Ledger::new(100).await;
    table::set_topic(&ledger.pool, ledger.id, "old", "cluster").await.unwrap();
    for _ in 0..2 {
        table::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    }
    let ends = BTreeMap::from([(0, 1)]);
    table::commit_barrier(&ledger.pool, ledger.id, 2, "old", &ends).await.unwrap();
    let winners = [1, 2].map(|rank| ledger.winner(rank, &format!("u{rank}"), 1));
    assert_eq!(ledger.store(&winners).await.outcomes, [RowOutcome::Stored, RowOutcome::Void]);
    table::set_topic(&ledger.pool, ledger.id, "new", "cluster").await.unwrap();
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
            table::held_by(&ledger.pool, &ledger.campaign, ledger.id, &UserId::new(*user).unwrap()).await.unwrap();
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
            match table::store(&ledger.pool, ledger.id, StoreMode::Logged(&logged)).await {
                Err(error) if error.fault() == Fault::Contention => {}
                result => return result.unwrap(),
            }
        }
        panic!("twenty deadlocks in a row");
    };
    let stored = futures::future::join_all(batches.iter().map(store)).await;
    assert!(stored.iter().all(|stored| stored.outcomes == all_stored(500)), "nobody is in conflict");
    assert_eq!(table::count_stored(&ledger.pool, ledger.id, 0).await.unwrap(), (1251, 1251));
}

#[tokio::test]
async fn rows_are_counted_and_read_from_a_rank_on() {
    let ledger = Ledger::new(100).await;
    assert_eq!(table::count_stored(&ledger.pool, ledger.id, 0).await.unwrap(), (0, 0));
    assert_eq!(table::count_stored(&ledger.pool, ledger.id, 9).await.unwrap(), (0, 9), "nothing above");
    let winners: Vec<_> = [1, 2, 4, 9].map(|rank| ledger.winner(rank, "anna", rank as u32)).into();
    ledger.store(&winners).await;
    assert_eq!(table::count_stored(&ledger.pool, ledger.id, 0).await.unwrap(), (4, 9));
    assert_eq!(table::count_stored(&ledger.pool, ledger.id, 2).await.unwrap(), (2, 9));
    let read = async |above, count| {
        let rows = table::read_rows(&ledger.pool, &ledger.campaign, ledger.id, above, count).await.unwrap();
        rows.into_iter().map(|row| row.rank).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 2).await, [1, 2]);
    assert_eq!(read(2, 10).await, [4, 9]);
    assert!(read(9, 10).await.is_empty());
    let anna = UserId::new("anna").unwrap();
    let mut held = table::held_by(&ledger.pool, &ledger.campaign, ledger.id, &anna).await.unwrap();
    held.iter_mut().zip(&winners).for_each(|(row, winner)| row.issued_count = winner.issued_count);
    assert_eq!(held, winners, "every field but the issued count comes back");
}

/// Wrong: what somebody must change looks like an outage, or an outage like a bad record.
#[tokio::test]
async fn errors_say_whose_fault_they_are() {
    let ledger = Ledger::new(1).await;
    let gone = table::store(&ledger.pool, CampaignRowId(u64::MAX), StoreMode::Logged(&[])).await.unwrap_err();
    assert!(matches!(gone, TableError::NoCampaign(_)) && gone.fault() == Fault::Schema, "{gone}");

    let fault = async |change: &dyn Fn(&mut campaign::settings::Database)| {
        let mut settings = settings(&url());
        change(&mut settings);
        table::find(&table::connect(&settings, 1), &ledger.campaign).await.unwrap_err().fault()
    };
    assert_eq!(fault(&|settings| settings.login.password = "wrong".into()).await, Fault::Denied);
    let other = fault(&|settings| settings.name = "no_such_database".into()).await;
    assert!(matches!(other, Fault::Schema | Fault::Denied), "{other:?}");
    // The port of `discard`, on which nobody listens, and which nobody is given who asks for a free one.
    assert_eq!(fault(&|settings| settings.port = 9).await, Fault::Away);

    let empty = MySqlPoolOptions::new().connect_lazy(&url()).unwrap();
    empty.close().await;
    assert_eq!(table::find(&empty, &ledger.campaign).await.unwrap_err().fault(), Fault::Away);
}

/// Wrong: grants that were given up are read all at once, however many there are; or a page leaves one out.
#[tokio::test]
async fn grants_that_were_given_up_are_read_a_page_at_a_time() {
    let ledger = Ledger::new(100).await;
    for rank in [9, 2, 5] {
        table::discard(&ledger.pool, ledger.id, &ledger.winner(rank, &format!("u{rank}"), 1), "why").await.unwrap();
    }
    let page = async |above| {
        let grants = table::discarded(&ledger.pool, &ledger.campaign, ledger.id, above, 2).await.unwrap();
        let ranks: Vec<u64> = grants.iter().map(|grant| grant.rank).collect();
        assert_eq!(table::discarded_ranks(&ledger.pool, ledger.id, above, 2).await.unwrap(), ranks);
        ranks
    };
    assert_eq!((page(0).await, page(5).await, page(9).await), (vec![2, 5], vec![9], vec![]));
}

/// Wrong: a record that is read again brings back who was forgotten, or makes their coupon a dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_forgotten_stays_forgotten_whatever_is_read_again() {
    let ledger = Ledger::new(100).await;
    let (anna, first, second) = (UserId::new("anna").unwrap(), table::new_pseudonym(), table::new_pseudonym());
    let winners = [ledger.winner(1, "anna", 1), ledger.winner(2, "bob", 1)];
    ledger.store(&winners).await;
    let forget = async |ranks: &[u64], fresh: &UserId| {
        let ranks: BTreeSet<u64> = ranks.iter().copied().collect();
        table::forget(&ledger.pool, ledger.id, &anna, &ranks, fresh).await.unwrap()
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
    assert_eq!(table::ranks_of(&ledger.pool, ledger.id, &anna).await.unwrap(), BTreeMap::from([(4, 1)]));
    assert_eq!(forget(&[1, 4], &second).await, BTreeMap::from([(1, first.clone()), (4, second.clone())]));
    let rows = table::read_rows(&ledger.pool, &ledger.campaign, ledger.id, 0, 10).await.unwrap();
    let named: Vec<_> = rows.iter().map(|row| (row.user_id.as_str(), row.request_key.as_str())).collect();
    let (first, second) = (first.as_str(), second.as_str());
    assert_eq!(named, [(first, first), ("bob", "bob-1"), (first, first), (second, second)]);
    assert!(table::campaigns_of(&ledger.pool, "test").await.unwrap().contains(&ledger.campaign));
}
