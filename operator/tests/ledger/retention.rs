//! Redis is rid of a campaign that is over, and filled again when it is needed.

use clap::Parser;
use consumer::forget::{self, args::Forget};
use consumer::replay::ReplayService;
use consumer::replay::args::Action;
use coupon_core::event::CouponIssued;
use coupon_core::identity::{RequestKey, UserId};
use coupon_ledger::database::{self, OpenedWindow, StoreMode, store};
use coupon_ledger::redis::rebuild::Ledger;
use coupon_ledger::redis::{self, Answer, IssueRequest, RedisKeys, Removed, Reply, Terms, issue, observe};
use jiff::Timestamp;
use operator::api::Phase;
use operator::ledger::epoch::fill::from_event;
use operator::ledger::epoch::{self, Remembered, Removal};
use operator::reconcile::plan::Step;

use super::missing_winners::held;
use super::operator_eyes::Operator;
use super::repair::in_redis;
use crate::common::no_pods::{no_issuers, one_issuer};
use crate::common::stage::Stage;

const HOUR: i64 = 3_600_000;

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Three hours ago for an hour.
fn over() -> Terms {
    let start_ms = (now() - 3 * HOUR) / 1000 * 1000;
    Terms { total: 100, limit: 1, start_ms, end_ms: start_ms + HOUR, suspended: false }
}

async fn remove(stage: &Stage) -> Removal {
    let row = stage.row().await;
    epoch::remove_keys(&stage.systems, &no_issuers(), &stage.campaign, &row, 0, now()).await.unwrap()
}

async fn keys_in_redis(stage: &Stage) -> u64 {
    let keys = RedisKeys::of(&stage.campaign);
    let mut redis = stage.systems.redis().await.unwrap();
    let all = [&keys.meta, &keys.issued, &keys.count, &keys.request, &keys.free];
    ::redis::cmd("EXISTS").arg(&all).query_async(&mut redis).await.unwrap()
}

/// Five winners in Redis, and these of them in the database.
async fn five_winners(stage: &Stage, rows: &[u64]) {
    stage.fill(1, 1, &Ledger { winners: (1..=5).map(held).collect(), free: vec![], highest: 5 }).await;
    let rows: Vec<_> = rows.iter().map(|rank| stage.winner(*rank, 1)).collect();
    store(&stage.systems.sql, stage.row, StoreMode::Direct(&rows)).await.unwrap();
}

/// Wrong: Redis is the only one that holds a winner, and is emptied.
#[tokio::test]
async fn nothing_is_removed_that_is_no_row() {
    let stage = Stage::new().await;
    five_winners(&stage, &[1, 2, 4]).await;
    let sql = &stage.systems.sql;
    let before = stage.row().await;
    let (refused, says) = (remove(&stage).await, "2 winners are no rows, the first of them at rank 3");
    assert_eq!(refused, Removal::Differs(says.to_owned()));
    // As many rows as winners, of which one is another.
    let another = CouponIssued { user_id: UserId::new("another").unwrap(), ..stage.winner(3, 1) };
    store(sql, stage.row, StoreMode::Direct(&[another, stage.winner(9, 1)])).await.unwrap();
    assert!(matches!(remove(&stage).await, Removal::Differs(_)));
    assert_eq!((keys_in_redis(&stage).await, stage.row().await.epoch), (4, before.epoch), "all is as it was");

    let stage = Stage::new().await;
    five_winners(&stage, &[1, 2, 4, 5]).await;
    database::discard(&stage.systems.sql, stage.row, &stage.winner(3, 1), "a conflict").await.unwrap();
    let stale = stage.row().await;
    assert_eq!(remove(&stage).await, Removal::Done { winners: 5 }, "one is given up");
    let row = stage.row().await;
    assert!(row.keys_removed_ms.is_some() && row.open_epoch.is_none(), "{row:?}");
    assert_eq!((row.epoch, row.issued_count, keys_in_redis(&stage).await), (2, 5, 0));
    database::allot_epoch(&stage.systems.sql, stage.row, 0).await.unwrap();
    assert_eq!(stage.row().await.keys_removed_ms, None, "whoever fills Redis again need not take it back");
    let late = database::set_keys_removed(&stage.systems.sql, stage.row, stale.epoch, 5, 1).await.unwrap();
    assert_eq!(late, database::EpochCommit::Superseded);
}

/// Wrong: an operator that was overtaken takes away what another has filled, or what somebody has won since it looked.
#[tokio::test]
async fn who_was_overtaken_removes_nothing() {
    let stage = Stage::new().await;
    five_winners(&stage, &[1, 2, 3, 4, 5]).await;
    let (keys, row) = (RedisKeys::of(&stage.campaign), stage.row().await);
    let pods = epoch::remove_keys(&stage.systems, &one_issuer(), &stage.campaign, &row, 0, now()).await.unwrap();
    assert_eq!((pods, stage.row().await.epoch), (Removal::Later, 1), "an issuer may be at work");
    let mut redis = stage.systems.redis().await.unwrap();
    let state = observe(&mut redis, &keys).await.unwrap();
    let before = state.open.unwrap();
    let changed = async |history: &str, before, winners| {
        let mut redis = stage.systems.redis().await.unwrap();
        redis::remove(&mut redis, &keys, history, before, winners).await.unwrap()
    };
    assert_eq!(changed("another/one", &before, 5).await, Removed::Changed);
    assert_eq!(changed(&state.history, &before, 4).await, Removed::Changed);
    let older = redis::OpenInRedis { epoch: 0, ..before.clone() };
    assert_eq!(changed(&state.history, &older, 5).await, Removed::Changed);
    let request =
        IssueRequest { user: UserId::new("late").unwrap(), key: RequestKey::new("k").unwrap(), minted: false };
    issue(&mut redis, &keys, 1, 5, &[request]).await.unwrap();
    assert_eq!(changed(&state.history, &before, 5).await, Removed::Changed);
    store(
        &stage.systems.sql,
        stage.row,
        StoreMode::Direct(&[CouponIssued { user_id: UserId::new("late").unwrap(), ..stage.winner(6, 1) }]),
    )
    .await
    .unwrap();
    // Somebody else repairs it.
    database::allot_epoch(&stage.systems.sql, stage.row, 0).await.unwrap();
    let overtaken = epoch::remove_keys(&stage.systems, &no_issuers(), &stage.campaign, &row, 0, now()).await.unwrap();
    assert_eq!((overtaken, keys_in_redis(&stage).await), (Removal::Later, 4));
}

#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    action: Action,
}

#[derive(Parser)]
struct Forgetting {
    #[command(flatten)]
    forget: Forget,
}

/// Wrong: keys that were removed are missing where they are needed: ranks are given twice, somebody gets a second coupon, or somebody who
/// was forgotten comes back.
#[tokio::test]
async fn a_longer_window_brings_back_all_that_was_removed() {
    let stage = Stage::of(100).await;
    let terms = over();
    let mut operator = Operator::of(&stage, terms, 5, 5).await;
    let window = OpenedWindow { start_ms: terms.start_ms, end_ms: terms.end_ms, limit: 1 };
    database::set_opened(&stage.systems.sql, &stage.row().await, window, "User").await.unwrap();
    operator.until("all is stored", |pass| pass.plan.phase == Phase::Completed).await;
    let kept = operator.pass().await;
    assert!(!kept.plan.steps.contains(&Step::RemoveKeys), "it is kept for ever: {:?}", kept.plan);
    operator.campaign.spec.retain_for_hours = Some(3);
    assert!(!operator.pass().await.plan.steps.contains(&Step::RemoveKeys), "it is over for two hours");
    operator.campaign.spec.retain_for_hours = Some(1);
    operator.until("it is over for long enough", |pass| pass.plan.steps.contains(&Step::RemoveKeys)).await;
    let bytes = async || stage.systems.redis_bytes(&RedisKeys::of(&stage.campaign)).await.unwrap().unwrap();
    assert!(bytes().await > 500, "{}", bytes().await);
    assert_eq!(remove(&stage).await, Removal::Done { winners: 5 });
    assert_eq!(bytes().await, 0);

    let rests = operator.pass().await;
    assert_eq!((rests.plan.phase, rests.plan.keys_removed), (Phase::Completed, true), "{:?}", rests.plan);
    assert!(!rests.plan.steps.iter().any(|step| matches!(step, Step::OpenEpoch { .. } | Step::RemoveKeys)));
    assert_eq!((rests.seen.issued(), keys_in_redis(&stage).await), (Some(5), 0));
    let mut another = operator.restarted();
    assert!(another.pass().await.plan.keys_removed, "another process knows it as well");

    // Meanwhile somebody is forgotten, and somebody looks after a letter.
    let campaign = stage.campaign.to_string();
    let words = ["forget", "--campaign", &campaign, "--user", "user-3"];
    let forget = Forgetting::try_parse_from(words).unwrap().forget;
    let workload = stage.systems.settings.workload.clone();
    let ended = forget::forget(&forget, workload.clone(), &mut std::io::sink()).await.unwrap();
    assert_eq!(ended, forget::ForgetOutcome::AllDone);
    stage.dead_letter(&stage.winner(50, 1), 7).await;
    let words = ["dead-letters", "replay", "--campaign", &campaign, "--wait", "0"];
    let Action::Replay(replay) = Program::try_parse_from(words).unwrap().action else { panic!() };
    let mut said = Vec::new();
    assert!(
        !ReplayService::new(stage.campaign.identity().clone(), workload)
            .unwrap()
            .replay(&replay, &mut said)
            .await
            .unwrap()
    );
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("RedisKeysRemoved") && said.contains("take retainForHours out"), "{said}");

    another.campaign.spec.window.end.0 = Timestamp::from_millisecond(terms.end_ms + 4 * HOUR).unwrap();
    let reopens = another.until("it is opened again", |pass| !pass.plan.keys_removed).await;
    let opening = Step::OpenEpoch { reason: "KeysRemoved" };
    assert_eq!((reopens.plan.steps.first(), reopens.plan.phase), (Some(&opening), Phase::Repairing));
    let row = stage.row().await;
    let remembered = Remembered::default();
    let opened =
        epoch::open(&stage.systems, &no_issuers(), &stage.campaign, &row, &reopens.plan.terms, remembered, || {}).await;
    let opened = opened.unwrap();
    assert_eq!((opened.winners, opened.free, opened.rebound), (6, 44, false), "the letter counts as it always does");
    let winners = in_redis(&stage).await.winners;
    let expected = |rank| from_event(stage.winner(rank, 1));
    for rank in [1, 2, 4, 5] {
        assert!(winners.contains(&expected(rank)), "{rank}: {winners:?}");
    }
    assert!(winners.iter().any(|winner| winner.rank == 3) && !winners.contains(&expected(3)), "{winners:?}");

    let (keys, mut redis) = (RedisKeys::of(&stage.campaign), stage.systems.redis().await.unwrap());
    let request = |user: &str, key: &str| IssueRequest {
        user: UserId::new(user).unwrap(),
        key: RequestKey::new(key).unwrap(),
        minted: false,
    };
    let requests = [request("user-1", "k"), request("user-2", "another"), request("new", "k")];
    let Reply::Answered(batch) = issue(&mut redis, &keys, opened.epoch, 50, &requests).await.unwrap() else { panic!() };
    assert!(matches!(&batch.answers[0], Answer::Repeated(grant) if grant.rank == 1), "{batch:?}");
    assert!(matches!(&batch.answers[1], Answer::UserLimit), "{batch:?}");
    assert!(matches!(&batch.answers[2], Answer::Granted(grant) if grant.rank == 6), "{batch:?}");
}
