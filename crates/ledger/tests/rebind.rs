//! A Redis that got another identity and lost nothing is bound to a new epoch as it is; one that lost something is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use coupon_core::identity::{CampaignId, RequestKey, UserId};
use coupon_ledger::redis::rebuild::{Filled, Ledger, LedgerWinner, Rebound, fill, rebind};
use coupon_ledger::redis::{
    Answer, Batch, Configured, IssueRequest, OpenInRedis, RedisKeys, RedisState, Refusal, Reply, Terms, configure,
    correct_time, issue, observe,
};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use stack::services::Redis;

use self::common::connected;

const TERMS: Terms = Terms { total: 10, limit: 1, start_ms: 0, end_ms: i64::MAX / 4096, suspended: false };

fn winner(rank: u64) -> LedgerWinner {
    LedgerWinner {
        rank,
        n: 1,
        user: UserId::new(format!("user-{rank}")).unwrap(),
        granted_ms: 1,
        key: RequestKey::new("k").unwrap(),
    }
}

struct Scene {
    server: Redis,
    connection: MultiplexedConnection,
    campaign: CampaignId,
    keys: RedisKeys,
    ledger: Ledger,
    /// What was open when Redis was read.
    before: OpenInRedis,
}

impl Scene {
    /// Epoch 1, with winners of ranks 1, 2 and 4: rank 3 is free.
    async fn new() -> Self {
        let server = Redis::start().unwrap();
        let campaign = CampaignId::with_default_names("test", "rebind", "spring").unwrap();
        let ledger = Ledger { winners: vec![winner(1), winner(2), winner(4)], free: vec![3], highest: 4 };
        let keys = RedisKeys::of(&campaign);
        let mut connection = connected(&server).await;
        let history = observe(&mut connection, &keys).await.unwrap().history;
        let filled = fill(&mut connection, &campaign, "a", &history, 1, &TERMS.numbered(1), &ledger).await.unwrap();
        assert_eq!(filled, Filled::Done);
        let before = observe(&mut connection, &keys).await.unwrap().open.unwrap();
        Self { server, connection, campaign, keys, ledger, before }
    }

    async fn state(&mut self) -> RedisState {
        observe(&mut self.connection, &self.keys).await.unwrap()
    }

    async fn rebind(&mut self, history: &str, epoch: u64) -> Rebound {
        let (campaign, before, winners) = (&self.campaign, &self.before, self.ledger.winners.len() as u64);
        rebind(&mut self.connection, campaign, history, before, epoch, &TERMS.numbered(epoch), winners).await.unwrap()
    }

    async fn ask(&mut self, epoch: u64, user: &str) -> Reply {
        let request =
            IssueRequest { user: UserId::new(user).unwrap(), key: RequestKey::new("k").unwrap(), minted: false };
        issue(&mut self.connection, &self.keys, epoch, 0, &[request]).await.unwrap()
    }
}

/// Wrong: a clock that was wrong for some seconds ends a sale for as long as it was ahead.
#[tokio::test]
async fn time_that_was_left_ahead_is_what_users_meet_until_it_is_corrected() {
    let mut scene = Scene::new().await;
    let ends = Terms { end_ms: scene.state().await.clock_ms + 3_600_000, ..TERMS };
    let configured = configure(&mut scene.connection, &scene.keys, 1, &ends.numbered(2)).await.unwrap();
    assert_eq!(configured, Configured::Done);
    let ahead = scene.state().await.clock_ms + 7_200_000;
    let _: () = scene.connection.hset(&scene.keys.meta, "last_ms", ahead).await.unwrap();
    let state = scene.state().await;
    assert_eq!(state.now_ms, ahead, "the time that ranks are given by");
    assert!(state.clock_ms < ahead);
    assert!(matches!(first(scene.ask(1, "anna").await), Answer::Ended), "which is past the end");

    correct_time(&mut scene.connection, &scene.keys).await.unwrap();
    let state = scene.state().await;
    assert!(state.now_ms < ahead && state.now_ms >= state.clock_ms, "{state:?}");
    assert!(matches!(first(scene.ask(1, "anna").await), Answer::Granted(_)));
    correct_time(&mut scene.connection, &scene.keys).await.unwrap();
    let _: () = scene.connection.del(&scene.keys.meta).await.unwrap();
    correct_time(&mut scene.connection, &scene.keys).await.unwrap();
}

fn first(reply: Reply) -> Answer {
    match reply {
        Reply::Answered(batch) => batch.answers.into_iter().next().unwrap(),
        Reply::Refused(refusal) => panic!("{refusal:?}"),
    }
}

fn rank(reply: &Reply) -> u64 {
    match reply {
        Reply::Answered(Batch { answers, .. }) => match &answers[0] {
            Answer::Granted(grant) | Answer::Repeated(grant) => grant.rank,
            other => panic!("{other:?}"),
        },
        Reply::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// Would fail if a replica that is attached in the middle of a sale stopped it for a rebuild, or lost or doubled a rank.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_replica_is_attached() {
    let mut scene = Scene::new().await;
    let before = scene.state().await.history;
    let _replica = Redis::start_replica_of(&scene.server).unwrap();
    let after = scene.state().await.history;
    assert_ne!(before, after, "the identity has changed");
    assert_eq!(scene.ask(1, "dora").await, Reply::Refused(Refusal::HistoryChanged));
    assert_eq!(scene.rebind(&before, 2).await, Rebound::HistoryChanged, "captured before the change");
    assert_eq!(scene.rebind(&after, 2).await, Rebound::Done);
    assert_eq!(scene.ask(1, "dora").await, Reply::Refused(Refusal::OtherEpoch { current: 2 }));
    assert_eq!(rank(&scene.ask(2, "user-2").await), 2, "winners keep their ranks");
    assert_eq!(rank(&scene.ask(2, "dora").await), 3, "the free rank is still free");
    assert_eq!(rank(&scene.ask(2, "eve").await), 5);
}

/// Would fail if a restart from the whole append-only file needed a rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_lost_nothing() {
    let mut scene = Scene::new().await;
    scene.server.restart().unwrap();
    scene.connection = connected(&scene.server).await;
    let history = scene.state().await.history;
    assert_eq!(scene.rebind(&history, 2).await, Rebound::Done);
    assert_eq!(rank(&scene.ask(2, "dora").await), 3);
}

/// Would fail if a Redis that lost part of the ledger were taken for a whole one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_whole_ledger_is_not_bound() {
    let mut scene = Scene::new().await;
    let history = scene.state().await.history;
    let keys = scene.keys.clone();
    assert_eq!(scene.rebind(&history, 1).await, Rebound::Other, "the epoch is not newer than what is here");
    let one_more = LedgerWinner { rank: 5, ..winner(5) };
    scene.ledger.winners.push(one_more);
    assert_eq!(scene.rebind(&history, 2).await, Rebound::Other, "a winner is missing");
    scene.ledger.winners.pop();
    scene.before.epoch = 0;
    assert_eq!(scene.rebind(&history, 2).await, Rebound::Other, "it was filled since it was read");
    for damage in [
        redis::cmd("LPOP").arg(&keys.free).clone(),
        redis::cmd("HDEL").arg(&keys.request).arg("1:user-1").clone(),
        redis::cmd("HSET").arg(&keys.meta).arg("highest").arg(3).clone(),
        redis::cmd("DEL").arg(&keys.meta).clone(),
    ] {
        let mut scene = Scene::new().await;
        let history = scene.state().await.history;
        let _: redis::Value = damage.query_async(&mut scene.connection).await.unwrap();
        assert_eq!(scene.rebind(&history, 2).await, Rebound::Other, "{damage:?}");
    }
    let () = scene.connection.flushall().await.unwrap();
    assert_eq!(scene.rebind(&history, 2).await, Rebound::Other, "nothing is here");
}
