//! Dead letters hold their ranks by the barriers that are in force.

use std::collections::BTreeSet;

use coupon_core::position::RecordPlace;
use coupon_ledger::database::{self};
use operator::ledger::dead_letters::log::DeadLog;
use operator::ledger::dead_letters::{DeadBarriers, DeadRanks};

use super::lost::of_a_later_version;
use crate::common::stage::Stage;

/// Id of the dead-letter topic, as the database knows it.
const DEAD_TOPIC: &str = "topic-1.DLT";

#[derive(Default)]
struct Eyes {
    barriers: DeadBarriers,
    dead: DeadRanks,
}

impl Eyes {
    async fn see(&mut self, stage: &Stage) -> BTreeSet<u64> {
        let (sql, kafka) = (&stage.systems.sql, &stage.systems.settings.operator.kafka);
        let span = stage.span(&stage.campaign.dead_letter_topic()).await;
        self.barriers = self.barriers.clone().refresh(sql, &stage.row().await).await.unwrap();
        let row = stage.row().await;
        let log = DeadLog::of(sql, row.id, DEAD_TOPIC, span).await.unwrap();
        self.dead =
            self.dead.clone().refresh(kafka, &stage.campaign, log, &self.barriers, row.total, None).await.unwrap();
        self.dead.ranks().iter().collect()
    }
}

/// Wrong: what a new epoch has made void goes on hiding a winner of that rank; or what still counts is published again.
#[tokio::test]
async fn a_new_epoch_judges_again_what_was_read_before() {
    let stage = Stage::new().await;
    let mut eyes = Eyes::default();
    stage.dead_letter(&stage.winner(1, 1), 3).await;
    stage.dead_letter(&stage.winner(2, 1), 7).await;
    assert_eq!(eyes.see(&stage).await, BTreeSet::from([1, 2]));

    stage.begin_epoch(2, 5).await;
    assert_eq!(eyes.see(&stage).await, BTreeSet::from([1]), "the barrier is there before the epoch is open");
    stage.open_epoch(2).await;
    assert_eq!(eyes.see(&stage).await, BTreeSet::from([1]));
    stage.dead_letter(&stage.winner(2, 2), 9).await;
    assert_eq!(eyes.see(&stage).await, BTreeSet::from([1, 2]), "the rank's new winner is a dead letter too");

    // Where a dead letter's record lay is not known once there was another topic.
    database::set_topic(&stage.systems.sql, stage.row, "topic-2", "cluster-1").await.unwrap();
    stage.dead_letter(&stage.winner(3, 1), 8).await;
    assert_eq!(eyes.see(&stage).await, BTreeSet::from([1, 2, 3]));
}

/// Wrong: every pass reads all dead letters, or the barriers, once more.
#[tokio::test]
async fn what_did_not_change_is_not_read_again() {
    let stage = Stage::new().await;
    let mut eyes = Eyes::default();
    stage.dead_letter(&stage.winner(1, 1), 7).await;
    assert_eq!(eyes.see(&stage).await, BTreeSet::from([1]));
    let (row, span) = (stage.row().await, stage.span(&stage.campaign.dead_letter_topic()).await);

    let closed = database::connect(&stage.systems.settings.operator.database, 1);
    closed.close().await;
    assert_eq!(
        eyes.barriers.clone().refresh(&closed, &row).await.unwrap(),
        eyes.barriers,
        "no question to the database"
    );
    stage.begin_epoch(2, 5).await;
    assert!(eyes.barriers.clone().refresh(&closed, &stage.row().await).await.is_err());

    let mut nowhere = stage.systems.settings.operator.kafka.clone();
    nowhere.bootstrap_servers = vec!["127.0.0.1:1".to_owned()];
    let log = DeadLog { range: span, ..DeadLog::default() };
    let dead = eyes.dead.refresh(&nowhere, &stage.campaign, log, &eyes.barriers, row.total, None).await.unwrap();
    assert_eq!(dead.ranks().count(), 1, "no question to Kafka");
}

/// Wrong: a stranger's letter of a rank that no campaign has takes all memory; or a raise makes a letter's rank look missing.
#[tokio::test]
async fn ranks_above_the_quantity_are_kept_in_mind_only_once_there_are_so_many() {
    let stage = Stage::of(100).await;
    let mut eyes = Eyes::default();
    for rank in [7, 101, 1 << 52] {
        stage.dead_letter(&stage.winner(rank, 1), 7).await;
    }
    assert_eq!(eyes.see(&stage).await, BTreeSet::from([7]));
    let number = database::allot_terms(&stage.systems.sql, &stage.row().await, 0).await.unwrap().unwrap();
    database::set_total(&stage.systems.sql, stage.row, number, 200).await.unwrap();
    assert_eq!(eyes.see(&stage).await, BTreeSet::from([7, 101]));
}

/// Wrong: a letter that people gave up, and that cannot be removed, is said to be in the way for as long as it lies there.
#[tokio::test]
async fn a_letter_that_was_given_up_is_not_in_the_way_any_more() {
    let stage = Stage::new().await;
    let mut eyes = Eyes::default();
    stage.dead_letter(&stage.winner(1, 1), 3).await;
    let at = of_a_later_version(&stage, &stage.campaign.dead_letter_topic(), &[]).await;
    let other = of_a_later_version(&stage, &stage.campaign.dead_letter_topic(), &[]).await;
    assert_eq!(eyes.see(&stage).await, BTreeSet::from([1]));
    for (at, next) in [(at, Some(other)), (other, None)] {
        assert_eq!(eyes.dead.newer().map(|(at, _)| *at), Some(at));
        let place = RecordPlace { topic_id: DEAD_TOPIC.to_owned(), at };
        database::discard_record(&stage.systems.sql, stage.row, &place, "NewerRecord").await.unwrap();
        assert_eq!(eyes.see(&stage).await, BTreeSet::from([1]));
        assert_eq!(eyes.dead.newer().map(|(at, _)| *at), next);
    }
}
