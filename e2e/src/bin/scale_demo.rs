//! `make scale-demo`: consumers that are held slow, a lag that builds, and pods that follow it until nothing is left.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::chaos::fault::{Role, Service};
use e2e::chaos::test_bed::TestBed;
use e2e::install::{install, kubectl};
use e2e::scaling::picture::svg;
use e2e::scaling::timeline::{CROSSING, Figures, table};
use e2e::scaling::watch::{Stream, Watch};
use serde_json::json;
use stack::Connections;

const COUPONS: u64 = 20_000;
const PER_SECOND: u64 = 700;
const PARTITIONS: u16 = 12;
/// How much later every piece of data between a pod and the database comes: a batch takes several of them.
const SLOW: Duration = Duration::from_millis(300);
/// How fast a backlog should be gone, in seconds.
const DRAIN_TARGET: u32 = 15;
/// From the first ready pod until people come: its group forms.
const QUIET: Duration = Duration::from_secs(3);
/// Longest time until everything is stored.
const PATIENCE: Duration = Duration::from_secs(300);
/// Limits that must hold, in milliseconds: from the lag's crossing to the decision, from it to ready pods.
const DECISION_MS: u64 = 3_000;
const READY_MS: u64 = 8_000;

fn main() -> ExitCode {
    let run = tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(demo()));
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scale-demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<bool> {
    let connections = Connections::from_env()?;
    println!("installing the operator with Helm, and a class whose connections lead through proxies");
    install(&connections).await?;
    let bed = TestBed::new(connections, "scale", true).await?;
    let name = format!("sale-{:x}", jiff::Timestamp::now().as_second());
    println!("kubectl apply: campaign {name}, {COUPONS} coupons, {PARTITIONS} partitions, open since two minutes");
    let open = bed
        .open_as(&name, COUPONS, 1, |spec| {
            spec["window"]["start"] = json!(e2e::campaign::from_now(-120));
            spec["partitions"] = json!(PARTITIONS);
            spec["consumer"] = json!({"drainTargetSeconds": DRAIN_TARGET});
        })
        .await?;
    let operator = bed.injector(&open).addresses(Role::Operator).await?;
    let slow = bed.links.slow(Service::Database, SLOW, operator);
    let stream = Stream::default();
    let mut watch = Watch::new(bed.kubernetes.clone(), &bed.sources.kafka, &open.campaign, &name, &stream)?;
    ensure!(watch.until(Duration::from_secs(60), |sample| sample.ready == 1).await?, "no consumer is ready");
    // The first pod has begun its work, as it has long before the crowd of a real sale comes.
    watch.until(QUIET, |_| false).await?;
    watch.samples.clear();
    println!(
        "{PER_SECOND} people per second come; every answer of the database to a pod takes {} ms longer",
        SLOW.as_millis()
    );
    let issuer = open.issuer(Duration::from_secs(15))?;
    let people = stream.run(&issuer, COUPONS, PER_SECOND);
    let watching = watch.until(PATIENCE, |sample| sample.issued == COUPONS && (sample.wanted, sample.ready) == (0, 0));
    let ((), over) = tokio::join!(people, watching);
    let over = over?;
    slow.end();
    let samples = watch.samples;
    let figures = Figures::of(&samples);
    println!("\n{}", table(&samples));
    let picture = Path::new("target/scale-demo.svg");
    std::fs::create_dir_all("target")?;
    std::fs::write(picture, svg(&samples)).with_context(|| format!("cannot write {}", picture.display()))?;
    let events = ["get", "events", "-n", &bed.namespace, "--sort-by=.metadata.creationTimestamp", "-o"];
    let scaled = "jsonpath={range .items[?(@.reason==\"Scaled\")]}{.note}{.message}{\"\\n\"}{end}";
    println!("what the operator said:\n{}", kubectl(&[&events[..], &[scaled]].concat()).await?);
    println!("the picture is {}; lag counts from {CROSSING} records", picture.display());
    let rows = bed.sources.rows(&open.campaign).await?.len();
    bed.close(open).await?;
    bed.leave().await?;
    println!("{}", figures.line());
    let within = |ms: Option<u64>, limit| ms.is_some_and(|ms| ms <= limit);
    Ok(over
        && rows as u64 == COUPONS
        && figures.scaled_to_zero
        && within(figures.decision_ms, DECISION_MS)
        && within(figures.ready_ms, READY_MS))
}
