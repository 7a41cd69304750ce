//! Who has won is listed, and a list is whole only if nobody can have a coupon beside it.

use std::process::Command;
use std::time::Duration;

use coupon_core::connections::{Connections, Login, RedisServer};
use coupon_core::event::CouponIssued;
use coupon_core::identity::UserId;
use coupon_ledger::database::{self, EpochCommit};
use coupon_ledger::redis::{RedisKeys, close, connect};
use serde_json::Value;

use crate::replay::{output, output_of, redis_holds_until};
use crate::stage::Stage;

/// An end of a window that is over, in milliseconds since 1970.
const OVER: i64 = 1;
/// One that is not: 2100-01-01T00:00:00Z.
const LATER: i64 = 4_102_444_800_000;
const HEAD: &str = "rank,userId,n,issuedAt";

/// Exit code, lines of the list, and what was said beside.
async fn list(stage: &Stage, arguments: &str) -> (i32, Vec<String>, String) {
    list_by(stage, &stage.connections, arguments).await
}

/// The same with other connections.
async fn list_by(stage: &Stage, connections: &Connections, arguments: &str) -> (i32, Vec<String>, String) {
    let written = output(stage, connections, &format!("winners {arguments}")).await;
    let text = String::from_utf8(written.stdout).unwrap();
    let said = String::from_utf8_lossy(&written.stderr).into_owned();
    (written.status.code().unwrap(), text.lines().map(str::to_owned).collect(), said)
}

/// When a rank was given: at a whole second, or not.
fn issued_at(rank: u64) -> String {
    let part = match rank % 2 {
        0 => "000",
        _ => "250",
    };
    format!("2027-03-01T09:00:0{rank}.{part}Z")
}

fn winner(stage: &Stage, rank: u64, user: &str) -> CouponIssued {
    let occurred_at = issued_at(rank).parse().unwrap();
    CouponIssued { user_id: UserId::new(user).unwrap(), occurred_at, ..stage.winner(rank) }
}

async fn store(stage: &Stage, winners: &[CouponIssued]) {
    stage.publish(winners.to_vec()).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
}

/// Opens epoch 1, under which Redis has given these.
async fn open(stage: &Stage, winners: &[CouponIssued], end_ms: i64) {
    let epoch = database::allot_epoch(&stage.pool, stage.row, 0).await.unwrap();
    assert_eq!(epoch, 1);
    redis_holds_until(stage, epoch, winners, end_ms).await;
    assert_eq!(database::open_epoch(&stage.pool, stage.row, epoch).await.unwrap(), EpochCommit::Done);
}

/// Wrong: prizes are handed out by a list that lacks winners, names some twice, or has them in another order.
#[tokio::test(flavor = "multi_thread")]
async fn winners_are_listed_in_the_order_of_ranks_and_a_list_that_lacks_some_says_so() {
    let stage = Stage::new(3).await;
    let all: Vec<CouponIssued> =
        [(1, "bert, \"the\" other"), (2, "ren\u{e9}"), (3, "carl"), (4, "dora"), (5, "emil"), (6, "fred")]
            .into_iter()
            .map(|(rank, user)| winner(&stage, rank, user))
            .collect();
    open(&stage, &all, OVER).await;
    store(&stage, &[all[3].clone(), all[0].clone(), all[1].clone()]).await;
    let expected = [
        HEAD,
        "1,\"bert, \"\"the\"\" other\",1,2027-03-01T09:00:01.250Z",
        "2,ren\u{e9},1,2027-03-01T09:00:02.000Z",
        "4,dora,1,2027-03-01T09:00:04.000Z",
    ];
    // The database has not been told how many were issued.
    let (code, lines, said) = list(&stage, "").await;
    assert_eq!(code, 3, "{said}");
    assert_eq!(lines, expected);
    assert!(said.contains("the list is not whole: ranks 3, 5-6 are no rows"), "{said}");
    assert!(said.contains("whole=false") && said.contains("missing=3") && said.contains("RanksMissing"), "{said}");

    database::discard(&stage.pool, stage.row, &all[2], "given up").await.unwrap();
    store(&stage, &all[4..]).await;
    let (code, lines, said) = list(&stage, "").await;
    assert_eq!((code, lines.len()), (0, 1 + 5), "{said}");
    assert!(said.contains("the list is whole") && said.contains("whole=true") && said.contains("given_up=1"), "{said}");

    let (code, lines, said) = list(&stage, "--above 4 --json").await;
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of =
        |rank: u64, user: &str| serde_json::json!({"rank": rank, "userId": user, "n": 1, "issuedAt": issued_at(rank)});
    assert_eq!((code, lines), (0, vec![of(5, "emil"), of(6, "fred")]), "{said}");
}

/// Wrong: a list is said to be whole though somebody was told a rank that it lacks, or still can be; or never is, once that is certain.
#[tokio::test(flavor = "multi_thread")]
async fn only_redis_or_the_removal_of_its_keys_makes_a_list_whole() {
    let stage = Stage::new(1).await;
    let (code, lines, said) = list(&stage, "").await;
    assert_eq!((code, lines), (3, vec![HEAD.to_owned()]), "{said}");
    assert!(said.contains("the list may not be whole: Redis could not be asked (no epoch is open"), "{said}");

    // Rank 2 is nobody's: a repair has found that its winner was never told.
    let stored = [stage.winner(1), stage.winner(3)];
    let told: Vec<CouponIssued> = stored.iter().cloned().chain((4..=63).map(|rank| stage.winner(rank))).collect();
    open(&stage, &told, OVER).await;
    store(&stage, &stored).await;
    database::set_issued_count(&stage.pool, stage.row, 2).await.unwrap();
    let mut away = stage.connections.clone();
    away.redis.server = RedisServer::Address("127.0.0.1:1".to_owned());
    let mut stranger = stage.connections.clone();
    stranger.redis.login = Login { username: "nobody-here".to_owned(), password: "wrong".to_owned() };
    let here = stage.connections.clone();
    for (what, held, end_ms, connections, expected, words) in [
        ("60 were told, and are no rows", &told[..], OVER, &here, 3, "the list is not whole: ranks 4-63 are no rows"),
        ("all are rows", &stored[..], OVER, &here, 0, "the list is whole"),
        ("Redis is away", &stored[..], OVER, &away, 3, "Redis could not be asked ("),
        ("Redis refuses the login", &stored[..], OVER, &stranger, 3, "Redis could not be asked ("),
        (
            "the window is open",
            &stored[..],
            LATER,
            &here,
            3,
            "the list is not final: the window is open until 2100-01-01T00:00:00Z, and 2 of 1000000 are issued",
        ),
    ] {
        redis_holds_until(&stage, 1, held, end_ms).await;
        for above in ["", "--above 1"] {
            let (code, _, said) = list_by(&stage, connections, above).await;
            assert_eq!(code, expected, "{what} {above}: {said}");
            assert!(said.contains(words), "{what} {above}: {said}");
        }
    }

    redis_holds_until(&stage, 1, &stored, OVER).await;
    assert_eq!(list(&stage, "").await.0, 0);
    let mut redis = connect::connect(&stage.connections.redis, Duration::from_secs(10)).await.unwrap();
    close(&mut redis, &RedisKeys::of(&stage.campaign)).await.unwrap();
    let (code, _, said) = list(&stage, "").await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("which is then closed, and not empty"), "{said}");
    let epoch = database::allot_epoch(&stage.pool, stage.row, 1).await.unwrap();
    for (winners, expected, words) in [(2, 0, "the list is whole"), (3, 3, "the list is not whole: rank 2 is no row")] {
        let removed = database::set_keys_removed(&stage.pool, stage.row, epoch, winners, 5).await.unwrap();
        assert_eq!(removed, EpochCommit::Done);
        for above in ["", "--above 1"] {
            let (code, lines, said) = list_by(&stage, &away, above).await;
            assert_eq!(code, expected, "{winners} {above}: {said}");
            assert!(said.contains(words) && !said.contains("could not be asked"), "{winners} {above}: {said}");
            assert!(lines.last().is_some_and(|line| line.starts_with("3,user-3,")), "{lines:?}");
        }
    }
}

/// Wrong: a right that is missing in Redis ends the list, or is not named.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_not_ask_redis_is_told_so() {
    let stage = Stage::new(1).await;
    open(&stage, &[stage.winner(1)], OVER).await;
    store(&stage, &[stage.winner(1)]).await;
    assert_eq!(list(&stage, "").await.0, 0);
    let user = stage.campaign.coupon_id().to_owned();
    let mut redis = connect::connect(&stage.connections.redis, Duration::from_secs(10)).await.unwrap();
    let rules = ["on", ">PASSWORD", "resetchannels", "~coupon:*", "-@all", "+info"];
    let mut set = redis::cmd("ACL");
    set.arg("SETUSER").arg(&user);
    for rule in rules {
        set.arg(rule);
    }
    set.query_async::<redis::Value>(&mut redis).await.unwrap();
    let mut pods = stage.connections.clone();
    pods.redis.login = Login { username: user.clone(), password: "PASSWORD".to_owned() };
    let (code, lines, said) = list_by(&stage, &pods, "").await;
    redis::cmd("ACL").arg("DELUSER").arg(&user).query_async::<redis::Value>(&mut redis).await.unwrap();
    assert_eq!((code, lines.len()), (3, 2), "{said}");
    assert!(said.contains("Redis could not be asked (") && said.contains("no permissions to run"), "{said}");
}

/// Wrong: a list ends where a page does.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_several_pages_has_them_all() {
    let stage = Stage::new(2).await;
    let all: Vec<CouponIssued> = (1..=4_500).map(|rank| stage.winner(rank)).collect();
    open(&stage, &all, OVER).await;
    store(&stage, &all).await;
    let (code, lines, said) = list(&stage, "--json").await;
    assert_eq!((code, lines.len()), (0, 4_500), "{said}");
    let ranks = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["rank"].as_u64().unwrap());
    assert!(ranks.eq(1..=4_500));
}

/// Wrong: a mistyped campaign is one in which nobody has won.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_campaign_that_is_not_there_no_list_is_written() {
    let stage = Stage::new(1).await;
    for arguments in ["--campaign prod/shop/never", "--campaign prod/shop/never --json"] {
        let (code, lines, said) = list(&stage, arguments).await;
        assert_eq!((code, lines), (1, Vec::new()), "{said}");
        assert!(said.contains("the database has no campaign prod/shop/never, so that no list was written"), "{said}");
        assert!(said.contains("status of the CouponCampaign has realm"), "{said}");
    }
}

/// Wrong: who throws the list away is told that all is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_written_is_an_error() {
    let stage = Stage::new(1).await;
    open(&stage, &[stage.winner(1)], OVER).await;
    store(&stage, &[stage.winner(1)]).await;
    for (stdout, expected, words) in [
        (">/dev/null", 0, "the list is whole"),
        (">&-", 1, "no list was written: stdout was closed"),
        ("1</dev/zero", 1, "writing the list: "),
        (">/dev/full", 1, "writing the list: "),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$0\" winners {stdout}"), env!("CARGO_BIN_EXE_coupon-consumer")]);
        let written = output_of(&stage, &stage.connections, command).await;
        let said = String::from_utf8_lossy(&written.stderr);
        assert_eq!(written.status.code(), Some(expected), "{stdout}: {said}");
        assert!(said.contains(words), "{stdout}: {said}");
    }
}
