//! Who has a ledger: registration, claims, and clusters that take it over.

use std::collections::BTreeSet;

use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, Custody, EpochCommit, Heir, OpenedWindow, Unfenced};
use coupon_testing::servers;

use super::ledger::{Ledger, some_campaign, url};

/// Wrong: two operators (or an operator and a test run) that start together fail, or migrate twice.
#[tokio::test(flavor = "multi_thread")]
async fn migrations_run_once_however_many_start_together() {
    let pools: Vec<_> = (0..4).map(|_| database::connect(&servers::database(&url()), 1)).collect();
    let all = futures::future::join_all(pools.iter().map(database::migrate)).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    database::migrate(&pools[0]).await.unwrap();
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
    let again = database::register(&ledger.pool, &ledger.campaign, 5).await.unwrap();
    assert_eq!((again.id, again.total, again.epoch, again.open_epoch), (ledger.id, 100, 0, None));
    assert_eq!(database::find(&ledger.pool, &some_campaign()).await.unwrap(), None);
    let other = CampaignId::with_default_names("test", "table2", ledger.campaign.coupon_id()).unwrap();
    assert_eq!(database::find(&ledger.pool, &other).await.unwrap(), None, "a namespace of its own");
}

#[tokio::test]
async fn what_is_recorded_is_found() {
    let ledger = Ledger::new(100).await;
    assert_eq!(ledger.row().await.topic_id, None);
    database::set_topic(&ledger.pool, ledger.id, "", "cluster").await.unwrap();
    assert_eq!(ledger.row().await.topic_id.as_deref(), Some(""));
    database::set_topic(&ledger.pool, ledger.id, "topic", "cluster").await.unwrap();
    let opened = OpenedWindow { start_ms: 7, end_ms: 70, limit: 1 };
    database::set_opened(&ledger.pool, &ledger.row().await, opened, "User").await.unwrap();
    let later = OpenedWindow { start_ms: 8, end_ms: 80, limit: 2 };
    database::set_opened(&ledger.pool, &ledger.row().await, later, "Campaign").await.unwrap();
    // Whoever stores winners holds the row; the count does not wait for that.
    let mut storing = ledger.pool.begin().await.unwrap();
    let held = sqlx::query("SELECT 1 FROM campaign WHERE id = ? LOCK IN SHARE MODE").bind(ledger.id.0);
    held.fetch_one(&mut *storing).await.unwrap();
    assert!(!database::try_set_issued_count(&ledger.pool, ledger.id, 41).await.unwrap());
    storing.rollback().await.unwrap();
    assert!(database::try_set_issued_count(&ledger.pool, ledger.id, 42).await.unwrap());
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
    let epoch = database::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    database::open_epoch(&ledger.pool, ledger.id, epoch).await.unwrap();
    let opened = OpenedWindow { start_ms: 7, end_ms: 70, limit: 1 };
    database::set_opened(&ledger.pool, &ledger.row().await, opened, "User").await.unwrap();
    let before = ledger.row().await;
    assert!(database::claim(&ledger.pool, &before, heir("first"), false).await.unwrap());
    assert!(
        !database::claim(&ledger.pool, &before, heir("second"), true).await.unwrap(),
        "decided from what is no more"
    );
    let row = ledger.row().await;
    assert_eq!((row.object_uid.as_deref(), row.opened_start_ms, row.open_epoch), (Some("first"), Some(7), Some(epoch)));

    assert!(database::claim(&ledger.pool, &row, heir("second"), true).await.unwrap());
    let row = ledger.row().await;
    assert_eq!(row.object_uid.as_deref(), Some("second"));
    let window = (row.opened_start_ms, row.opened_end_ms, row.opened_user_limit);
    assert_eq!(
        (window, row.open_epoch, row.epoch),
        ((None, None, None), None, epoch),
        "nobody grants under the old window"
    );
    assert_eq!(row.opened_key_by.as_deref(), Some("User"), "records keep their partitions");
    let newer = database::allot_epoch(&ledger.pool, ledger.id, 0).await.unwrap();
    assert!(
        !database::claim(&ledger.pool, &row, heir("third"), false).await.unwrap(),
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
    let claims = ["a", "b", "c", "d"].map(|cluster| database::claim(pool, &nobodys, of(cluster), false));
    let claimed = futures::future::join_all(claims).await;
    assert_eq!(claimed.into_iter().filter(|claimed| *claimed.as_ref().unwrap()).count(), 1);

    let new = CampaignId::with_default_names("test", "table", &format!("c{:016x}", rand::random::<u64>())).unwrap();
    let registering = ["a", "b", "c", "d"].map(|cluster| database::register_in(pool, &new, 100, Some(cluster)));
    let owners = futures::future::join_all(registering).await.into_iter().map(|row| row.unwrap().custody.owner);
    assert_eq!(owners.collect::<BTreeSet<_>>().len(), 1, "all hear of the same owner");

    let row = ledger.row().await;
    let first: &'static str =
        ["a", "b", "c", "d"].into_iter().find(|each| row.custody.owner.as_deref() == Some(each)).unwrap();
    let opened = database::begin_epoch(pool, &row, 0).await.unwrap().unwrap().epoch;
    database::open_epoch(pool, id, opened).await.unwrap();
    // What the owner has read, and goes on with later.
    let stale = ledger.row().await;
    assert!(!database::claim(pool, &stale, of("e"), false).await.unwrap(), "not without being told to");
    assert!(database::take_over(pool, &stale, of("e"), 41, false).await.unwrap());
    assert!(!database::take_over(pool, &stale, of("f"), 0, false).await.unwrap(), "decided from what is no more");
    let row = ledger.row().await;
    assert_eq!((row.epoch, row.open_epoch, row.object_uid.as_deref()), (42, None, Some("e")));
    let unfenced = Unfenced { cluster: first.to_owned(), epoch: Some(opened), closed: false };
    assert_eq!(row.custody, Custody { owner: Some("e".to_owned()), changes: 2, unfenced: Some(unfenced) });
    let window = OpenedWindow { start_ms: 1, end_ms: 2, limit: 1 };
    database::set_opened(pool, &stale, window, "User").await.unwrap();
    assert_eq!(ledger.row().await, row, "a window of before");
    assert_eq!(database::begin_epoch(pool, &stale, 0).await.unwrap(), None);
    assert_eq!(database::allot_terms(pool, &stale, 0).await.unwrap(), None);
    assert_eq!(database::open_epoch(pool, id, opened).await.unwrap(), EpochCommit::Superseded);
    assert!(database::hold(pool, id, first).await.unwrap().is_none());

    // Nor does the new one begin, or get another name, before the issuers of the old one have stopped.
    assert!(!database::rename_owner(pool, &row, "e2").await.unwrap());
    assert_eq!(database::begin_epoch(pool, &row, 0).await.unwrap(), None);
    assert!(!database::take_over(pool, &row, of("f"), 0, false).await.unwrap(), "a third one comes later");
    assert!(database::note_closed(pool, &row).await.unwrap());
    assert!(database::note_fenced(pool, &row).await.unwrap());
    assert!(!database::note_fenced(pool, &row).await.unwrap(), "once");
    let row = ledger.row().await;
    assert_eq!(database::begin_epoch(pool, &row, 0).await.unwrap().map(|numbers| numbers.epoch), Some(43));

    // Back again, before the new one could begin: there is nobody to be waited for.
    let row = ledger.row().await;
    assert!(database::take_over(pool, &row, of("b2"), 0, false).await.unwrap());
    let row = ledger.row().await;
    assert!(database::take_over(pool, &row, of("e"), 0, false).await.unwrap());
    let row = ledger.row().await;
    assert_eq!((row.custody.owner.as_deref(), row.custody.unfenced.clone()), (Some("e"), None));

    // A cluster gets another name: nothing has changed hands.
    assert!(database::rename_owner(pool, &row, "e2").await.unwrap());
    assert!(!database::rename_owner(pool, &row, "e3").await.unwrap(), "decided from what is no more");
    let renamed = ledger.row().await;
    assert_eq!((renamed.custody.owner.as_deref(), renamed.custody.changes), (Some("e2"), row.custody.changes));
    assert!(database::rename_owner(pool, &renamed, "e").await.unwrap());

    let held = database::hold(pool, id, "e").await.unwrap().unwrap();
    let row = ledger.row().await;
    let taking = tokio::spawn({
        let (pool, row) = (pool.clone(), row.clone());
        async move { database::take_over(&pool, &row, Heir { cluster: "g", uid: "g" }, 0, false).await.unwrap() }
    });
    held.let_go().await.unwrap();
    assert!(!taking.await.unwrap(), "it was let go of meanwhile");
    assert!(database::claim(pool, &row, of("g"), false).await.unwrap());
    assert_eq!(ledger.row().await.custody.changes, row.custody.changes + 1);
}
