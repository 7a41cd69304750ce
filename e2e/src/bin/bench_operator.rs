//! `make bench-operator`: a thousand campaigns that wait for their windows and twenty that sell, and what they cost.

use std::collections::BTreeSet;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use e2e::campaign::{from_now, manifest};
use e2e::install::{apply, class, install, namespace};
use e2e::many::meter;
use e2e::many::stand_in;
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::api::{ListParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use operator::api::{CouponCampaign, Phase};
use serde_json::{Value, json};
use stack::Connections;
use tokio::time::sleep;

const NAMESPACE: &str = "many";
/// Its pods are for a node that there is not.
const CLASS: &str = "many";
/// Campaigns created at the same time.
const TOGETHER: usize = 16;
const MONTH_S: i64 = 30 * 24 * 3600;
/// Longest time until all are prepared.
const PATIENCE: Duration = Duration::from_secs(600);
/// From the last change until nothing goes on any more; then so long is measured.
const CALM: Duration = Duration::from_secs(30);
const MEASURED: Duration = Duration::from_secs(60);

/// Many campaigns on a small machine.
#[derive(Parser)]
struct Arguments {
    /// Campaigns whose window is next month.
    #[arg(long, default_value_t = 1_000)]
    dormant: usize,
    /// Campaigns whose window is open.
    #[arg(long, default_value_t = 20)]
    active: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run =
        tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(bench(&arguments)));
    match run {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-operator failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(arguments: &Arguments) -> Result<Value> {
    let connections = Connections::from_env()?;
    let redis = connections.redis.clone().context("the stack has no Redis")?;
    println!("installing the operator with Helm, and a class whose pods no node runs");
    install(&connections).await?;
    let mut own = class(CLASS, &connections, false)?;
    own["spec"]["realm"] = json!(CLASS);
    own["spec"]["pods"]["nodeSelector"] = json!({"coupon-operator.io/bench": "nowhere"});
    apply(&own).await?;
    namespace(NAMESPACE, true).await?;
    let client = Client::try_default().await?;
    let campaigns: Api<CouponCampaign> = Api::namespaced(client.clone(), NAMESPACE);
    ensure!(campaigns.list_metadata(&ListParams::default()).await?.items.is_empty(), "there are campaigns already");
    let empty = meter::read(&client, &redis).await?;

    println!("creating {} campaigns for next month", arguments.dormant);
    let begin = Instant::now();
    create(&campaigns, "dormant", arguments.dormant, MONTH_S, MONTH_S + 3600).await?;
    println!("[{:5.1} s] all are created", begin.elapsed().as_secs_f64());
    until_all(&campaigns, arguments.dormant, Phase::Scheduled, begin).await?;
    let scheduled_s = begin.elapsed().as_secs_f64();
    println!("[{scheduled_s:5.1} s] all are Scheduled");
    let prepared = meter::read(&client, &redis).await?;
    sleep(CALM).await;
    let idle = measured(&client, &redis, "nothing goes on").await?;

    println!("creating {} campaigns whose window is open", arguments.active);
    let begin = Instant::now();
    let standing = stand_in::run(client.clone(), NAMESPACE);
    let selling = async {
        create(&campaigns, "active", arguments.active, -120, 3600).await?;
        until_all(&campaigns, arguments.active, Phase::Open, begin).await?;
        let open_s = begin.elapsed().as_secs_f64();
        println!("[{open_s:5.1} s] all are Open");
        sleep(CALM).await;
        anyhow::Ok((open_s, measured(&client, &redis, "all wait for people").await?))
    };
    let (open_s, busy) = tokio::select! {
        sold = selling => sold?,
        error = standing => bail!("pods could not be marked ready: {error}"),
    };
    Ok(json!({
        "dormant": arguments.dormant, "active": arguments.active,
        "scheduled_s": round(scheduled_s), "open_s": round(open_s),
        "rss_empty_mib": round(empty.rss_mib),
        "preparing": prepared.since(&empty), "idle": idle, "busy": busy,
    }))
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

async fn measured(client: &Client, redis: &str, what: &str) -> Result<meter::Costs> {
    println!("measuring for {} s while {what}", MEASURED.as_secs());
    let before = meter::read(client, redis).await?;
    sleep(MEASURED).await;
    Ok(meter::read(client, redis).await?.since(&before))
}

async fn create(api: &Api<CouponCampaign>, kind: &str, count: usize, start: i64, end: i64) -> Result<()> {
    let parameters = PostParams::default();
    let all = stream::iter(0..count).map(|number| {
        let parameters = &parameters;
        async move {
            let mut object = manifest(NAMESPACE, &format!("{kind}-{number}"), 1_000, start, end);
            object["spec"]["className"] = json!(CLASS);
            object["spec"]["partitions"] = json!(if kind == "active" { 3 } else { 1 });
            object["spec"]["window"] = json!({"start": from_now(start), "end": from_now(end)});
            api.create(parameters, &serde_json::from_value(object)?).await?;
            anyhow::Ok(())
        }
    });
    all.buffer_unordered(TOGETHER).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Waits until so many campaigns are in a phase. It watches them: listing a thousand again and again would cost the API server
/// more than the operator does.
async fn until_all(api: &Api<CouponCampaign>, count: usize, phase: Phase, begin: Instant) -> Result<()> {
    let mut told = Instant::now();
    let mut there = BTreeSet::new();
    let changes = watcher(api.clone(), watcher::Config::default()).default_backoff().applied_objects();
    let counting = async {
        let mut changes = pin!(changes);
        while let Some(campaign) = changes.try_next().await? {
            if campaign.status.as_ref().is_some_and(|status| status.phase == Some(phase)) {
                there.insert(campaign.name_any());
            }
            if there.len() >= count {
                return Ok(());
            }
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                println!("[{:5.1} s] {} of {count} are {phase}", begin.elapsed().as_secs_f64(), there.len());
            }
        }
        bail!("the watch has ended")
    };
    let late = || format!("not all {count} campaigns became {phase} within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, counting).await.with_context(late)?
}
