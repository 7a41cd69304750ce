//! Who has won is listed.

use coupon_core::event::CouponIssued;
use coupon_core::identity::UserId;
use coupon_ledger::database;
use serde_json::Value;

use crate::replay::output;
use crate::stage::Stage;

/// Exit code, lines of the list, and what was said beside.
async fn list(stage: &Stage, arguments: &str) -> (i32, Vec<String>, String) {
    let written = output(stage, &stage.connections, &format!("winners {arguments}")).await;
    let text = String::from_utf8(written.stdout).unwrap();
    let said = String::from_utf8_lossy(&written.stderr).into_owned();
    (written.status.code().unwrap(), text.lines().map(str::to_owned).collect(), said)
}

/// A winner at a whole second.
fn winner(stage: &Stage, rank: u64, user: &str) -> CouponIssued {
    let occurred_at = format!("2027-03-01T09:00:0{rank}.250Z").parse().unwrap();
    CouponIssued { user_id: UserId::new(user).unwrap(), occurred_at, ..stage.winner(rank) }
}

async fn store(stage: &Stage, winners: &[CouponIssued]) {
    stage.publish(winners.to_vec()).await;
    let consumer = stage.start();
    stage.all_committed().await;
    consumer.stop().await;
}

/// Wrong: prizes are handed out by a list that lacks winners, names some twice, or has them in another order.
#[tokio::test(flavor = "multi_thread")]
async fn winners_are_listed_in_the_order_of_ranks_and_a_list_that_lacks_some_says_so() {
    let stage = Stage::new(3).await;
    let (code, lines, said) = list(&stage, "").await;
    assert_eq!((code, lines), (0, vec!["rank,userId,n,issuedAt".to_owned()]), "{said}");

    store(
        &stage,
        &[winner(&stage, 4, "dora"), winner(&stage, 1, "bert, \"the\" other"), winner(&stage, 2, "ren\u{e9}")],
    )
    .await;
    database::set_issued_count(&stage.pool, stage.row, 6).await.unwrap();
    let expected = [
        "rank,userId,n,issuedAt",
        "1,\"bert, \"\"the\"\" other\",1,2027-03-01T09:00:01.25Z",
        "2,ren\u{e9},1,2027-03-01T09:00:02.25Z",
        "4,dora,1,2027-03-01T09:00:04.25Z",
    ];
    let (code, lines, said) = list(&stage, "").await;
    assert_eq!(code, 3, "{said}");
    assert_eq!(lines, expected);
    assert!(said.contains("the list is not whole: ranks 3, 5-6 are given, and are no rows"), "{said}");

    database::discard(&stage.pool, stage.row, &winner(&stage, 3, "carl"), "given up").await.unwrap();
    store(&stage, &[winner(&stage, 5, "emil"), winner(&stage, 6, "fred")]).await;
    let (code, lines, said) = list(&stage, "").await;
    assert_eq!((code, lines.len()), (0, 1 + 5), "{said}");
    assert!(said.contains("the list is whole") && said.contains("given_up=1"), "{said}");

    let (code, lines, said) = list(&stage, "--above 4 --json").await;
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |rank: u64, user: &str| serde_json::json!({"rank": rank, "userId": user, "n": 1, "issuedAt": format!("2027-03-01T09:00:0{rank}.25Z")});
    assert_eq!((code, lines), (0, vec![of(5, "emil"), of(6, "fred")]), "{said}");
}

/// Wrong: a list ends where a page does.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_several_pages_has_them_all() {
    let stage = Stage::new(2).await;
    store(&stage, &(1..=4_500).map(|rank| stage.winner(rank)).collect::<Vec<_>>()).await;
    let (code, lines, said) = list(&stage, "--json").await;
    assert_eq!((code, lines.len()), (0, 4_500), "{said}");
    let ranks = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["rank"].as_u64().unwrap());
    assert!(ranks.eq(1..=4_500));
}

/// Wrong: a mistyped campaign is one in which nobody has won.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_campaign_that_is_not_there_no_list_is_written() {
    let stage = Stage::new(1).await;
    let (code, _, said) = list(&stage, "--campaign prod/shop/never").await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the database has no campaign prod/shop/never"), "{said}");
}
