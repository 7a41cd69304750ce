//! `make demo`: 100 coupons, 120 people at once, and a look into the database.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::campaign::{Sale, from_now};
use e2e::database::{Rows, connect, rows};
use e2e::install::{REALM, install, kubectl, namespace};
use e2e::issuer_client::{Response, count_code, p99_ms, ranks, users};
use e2e::wait::until;
use operator::api::Phase;
use serde_json::{Value, json};
use stack::Connections;

const PEOPLE: usize = 120;
const COUPONS: usize = 100;
const NAMESPACE: &str = "shop";
/// What the answer may take, in milliseconds.
const LIMIT_MS: u128 = 500;

fn main() -> ExitCode {
    e2e::demo::run("demo", demo())
}

/// Says what is done and how long the step before took.
struct Steps(Instant);

impl Steps {
    fn next(&mut self, what: &str) {
        println!("[{:5.1} s] {what}", self.0.elapsed().as_secs_f64());
    }
}

/// `examples/first-hundred.yaml` with a coupon id of this run and a window that is open now.
fn example(coupon_id: &str) -> Result<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-hundred.yaml");
    let mut manifest: Value = coupon_core::yaml::from_str(&std::fs::read_to_string(path)?)?;
    manifest["metadata"]["namespace"] = json!(NAMESPACE);
    manifest["metadata"]["name"] = json!(coupon_id);
    manifest["spec"]["window"] = json!({"start": from_now(0), "end": from_now(600)});
    Ok(manifest)
}

async fn demo() -> Result<(String, bool)> {
    let mut steps = Steps(Instant::now());
    let connections = Connections::from_env()?;
    steps.next("installing the operator with Helm, and a default CampaignClass (some 5 s)");
    install(&connections).await?;
    namespace(NAMESPACE, true).await?;
    let client = kube::Client::try_default().await.context("cannot connect to the Kubernetes API")?;

    let coupon_id = format!("first-hundred-{}", jiff::Timestamp::now().as_second());
    steps.next(&format!("kubectl apply: campaign {coupon_id}, {COUPONS} coupons, open now (some 5 s)"));
    let applied = Instant::now();
    let sale = Sale::apply(&client, example(&coupon_id)?).await?;
    let issuer = sale.issuer().await?;
    let answering = applied.elapsed();
    sale.until_phase(Phase::Open, Duration::from_secs(60)).await?;
    steps.next(&format!("the issuers answered {:.1} s after the apply; waiting for Ready", answering.as_secs_f64()));
    sale.until("Ready", Duration::from_secs(60), Sale::is_ready).await?;

    steps.next(&format!("{PEOPLE} people ask at once"));
    let everybody = users("user", PEOPLE);
    let answers = issuer.rush(&everybody).await;
    let issued = count_code(&answers, "ISSUED");
    for failure in answers.iter().filter(|each| !matches!(each.code.as_str(), "ISSUED" | "SOLD_OUT")).take(5) {
        println!("          {} heard {} {}", failure.user, failure.status, failure.code);
    }

    steps.next("waiting until every winner is in the database");
    let stored = stored_rows(&connections, &coupon_id, issued).await?;
    let mut told: Vec<(u64, String)> =
        answers.iter().filter_map(|each| each.rank.map(|rank| (rank, each.user.clone()))).collect();
    told.sort();
    let same = told == stored.winners;
    if !same {
        println!("          the rows are not what people were told");
    }
    await_counters(&sale, &stored).await;
    println!("\n{}", kubectl(&["get", "couponcampaigns", "-n", NAMESPACE, &coupon_id]).await?);
    conclude(&answers, &stored, same)
}

/// Waits until every winner is in the database, and reads the rows.
async fn stored_rows(connections: &Connections, coupon_id: &str, issued: usize) -> Result<Rows> {
    let pool = connect(connections).await?;
    let complete = until("every winner in the database", Duration::from_secs(60), async || {
        let found = rows(&pool, REALM, NAMESPACE, coupon_id).await.map_err(|e| e.to_string())?;
        if found.winners.len() >= issued { Ok(()) } else { Err(format!("{} of {issued} rows", found.winners.len())) }
    });
    if let Err(error) = complete.await {
        println!("          {error:#}");
    }
    rows(&pool, REALM, NAMESPACE, coupon_id).await
}

/// Status follows within seconds; the table should show the end.
async fn await_counters(sale: &Sale, stored: &Rows) {
    let persisted = i64::try_from(stored.winners.len()).unwrap_or(0);
    let seen = sale
        .until("counters in status", Duration::from_secs(20), |found| {
            found
                .status
                .as_ref()
                .is_some_and(|s| (s.persisted, s.lag, s.phase) == (Some(persisted), Some(0), Some(Phase::SoldOut)))
        })
        .await;
    if let Err(error) = seen {
        println!("          {error:#}");
    }
}

/// Prints what came of it. Says it in one line, and whether it is as it should be.
fn conclude(answers: &[Response], stored: &Rows, same: bool) -> Result<(String, bool)> {
    let (issued, sold_out) = (count_code(answers, "ISSUED"), count_code(answers, "SOLD_OUT"));
    let errors = answers.len() - issued - sold_out;
    let duplicates = stored.duplicates();
    let p99 = p99_ms(answers);
    let complete = ranks(answers).iter().copied().eq(1..=u64::try_from(COUPONS)?);
    table(&[
        ("asked", PEOPLE.to_string()),
        ("heard \"issued\"", format!("{issued}, ranks 1..{COUPONS} complete: {complete}")),
        ("heard \"sold out\"", sold_out.to_string()),
        ("heard anything else", errors.to_string()),
        ("rows in the database", format!("{}, the same people with the same ranks: {same}", stored.winners.len())),
        ("slowest of 99 in 100", format!("{p99} ms")),
    ]);
    let line = format!(
        "demo: asked={PEOPLE} issued={issued} sold_out={sold_out} errors={errors} stored={} duplicates={duplicates} p99_ms={p99}",
        stored.winners.len()
    );
    let good = issued == COUPONS
        && sold_out == PEOPLE - COUPONS
        && errors == 0
        && stored.winners.len() == COUPONS
        && duplicates == 0
        && complete
        && same
        && p99 < LIMIT_MS;
    Ok((line, good))
}

fn table(rows: &[(&str, String)]) {
    for (name, value) in rows {
        println!("  {name:<22} {value}");
    }
    println!();
}
