//! A grant that people have given up is settled for good.

use clap::Parser;
use consumer::replay::ReplayService;
use consumer::replay::args::{Action, Replay};
use coupon_core::contract::KeyBy;
use coupon_core::event::CouponIssued;
use coupon_ledger::database::{self, StoreMode, store};
use coupon_ledger::redis::rebuild::Ledger;
use operator::ledger::repair::scan::{Scan, ScanResult};
use operator::ledger::repair::watch::DueWinners;
use operator::ledger::repair::{Subject, publish_missing};
use operator::reconcile::observation_cache::ObservationCache;
use operator::reconcile::observe::observe;

use super::missing_winners::{held, published};
use crate::common::stage::Stage;

#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    action: Action,
}

pub(crate) async fn replay(stage: &Stage, arguments: &str) -> bool {
    told(stage, arguments).await.0
}

/// The same, with what people read.
pub(crate) async fn told(stage: &Stage, arguments: &str) -> (bool, String) {
    let campaign = stage.campaign.to_string();
    let words = ["dead-letters", "replay", "--campaign", &campaign].into_iter().chain(arguments.split_whitespace());
    let Action::Replay(replay): Action = Program::try_parse_from(words).unwrap().action else { panic!() };
    let replay: Replay = replay;
    let service =
        ReplayService::new(stage.campaign.identity().clone(), stage.systems.settings.workload.clone()).unwrap();
    let mut out = Vec::new();
    let well = service.replay(&replay, &mut out).await.unwrap();
    (well, String::from_utf8(out).unwrap())
}

/// Looks for missing winners as a pass does, with what it knows.
async fn looked(stage: &Stage, known: &ObservationCache) -> ScanResult {
    let subject = Subject {
        systems: &stage.systems,
        campaign: &stage.campaign,
        row: stage.row,
        key_by: KeyBy::User,
        dead: known.dead.ranks(),
        pages: &known.rows.pages,
    };
    publish_missing(&subject, &Scan::default(), DueWinners { up_to: 3, granted_by_ms: 1 }).await.unwrap().result
}

/// Wrong: a letter that was discarded comes back for ever, as its rank is published again and again; the campaign is never
/// completed.
#[tokio::test]
async fn a_discarded_conflict_does_not_come_back() {
    let stage = Stage::new().await;
    // User 2 won rank 2, but somebody wrote another coupon into the place.
    stage.fill(1, 1, &Ledger { winners: (1..=3).map(held).collect(), free: vec![], highest: 3 }).await;
    let foreign = CouponIssued { rank: 500, ..stage.winner(2, 1) };
    let rows = [stage.winner(1, 1), stage.winner(3, 1), foreign];
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    stage.dead_letter(&stage.winner(2, 1), 7).await;

    let mut known = ObservationCache::default();
    let seen = observe(&stage.systems, &stage.campaign, false, &mut known).await.kafka.unwrap();
    assert_eq!((seen.dead_letters, seen.dead_ranks), (Some(1), Some(1)));
    assert!(!replay(&stage, "--wait 0").await, "a conflict is not replayed");
    assert!(replay(&stage, "--wait 0 --trim --discard 0:0").await);

    let seen = observe(&stage.systems, &stage.campaign, false, &mut known).await.kafka.unwrap();
    assert_eq!((seen.dead_letters, seen.dead_ranks), (Some(0), Some(1)), "it is accounted for without its letter");
    assert_eq!(looked(&stage, &known).await, ScanResult::default());
    assert_eq!(published(&stage).await, []);
    // The same for an operator that begins now.
    let mut fresh = ObservationCache::default();
    observe(&stage.systems, &stage.campaign, false, &mut fresh).await.kafka.unwrap();
    assert_eq!(looked(&stage, &fresh).await, ScanResult::default());
    let discarded = database::discarded(&stage.systems.sql, &stage.campaign, stage.row, 0, 10).await.unwrap();
    assert!(discarded.len() == 1 && discarded[0].same_grant(&stage.winner(2, 1)), "{discarded:?}");
}

/// Wrong: discarding a letter takes a rank away from whom Redis gave it to, or from everybody.
#[tokio::test]
async fn a_rank_that_its_user_does_not_hold_is_not_kept() {
    let stage = Stage::new().await;
    let mut robbed = stage.winner(2, 1);
    robbed.user_id = stage.winner(77, 1).user_id;
    stage.fill(1, 1, &Ledger { winners: (1..=3).map(held).collect(), free: vec![], highest: 3 }).await;
    let rows = [CouponIssued { rank: 500, ..robbed.clone() }];
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
    stage.dead_letter(&robbed, 7).await;
    assert!(replay(&stage, "--wait 0 --trim --discard 0:0").await);
    assert!(database::discarded_ranks(&stage.systems.sql, stage.row, 0, 10).await.unwrap().is_empty());
    let mut known = ObservationCache::default();
    observe(&stage.systems, &stage.campaign, false, &mut known).await.kafka.unwrap();
    assert_eq!(looked(&stage, &known).await.missing, 3, "the winners that only Redis holds are found");
}
