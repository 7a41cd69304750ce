//! `make attack`: the doors under clients of the wrong kind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use e2e::attack::{Honest, Kind, Swarm, Tally, Targets, Weights};
use e2e::campaign::{Sale, manifest};
use e2e::install::{SYSTEM_NAMESPACE, install, kubectl, namespace};
use e2e::issuer_client::IssuerClient;
use e2e::wait::until;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use operator::api::Phase;
use serde_json::json;
use stack::Connections;
use strum::IntoEnumIterator;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "attack";
/// Honest users a second.
const RATE: u32 = 200;
/// Rollouts while they come.
const ROLLOUTS: u32 = 5;

/// Attacks an issuer while honest users ask.
#[derive(Debug, Parser)]
struct Args {
    /// Seconds that each kind lasts.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Only this kind; may be given several times.
    #[arg(long = "kind")]
    kinds: Vec<Kind>,
    /// The program `schemathesis`; without it the fuzzing of the OpenAPI document is left out.
    #[arg(long)]
    schemathesis: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let run = tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(attack(&args)));
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("attack failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn attack(args: &Args) -> Result<bool> {
    coupon_runtime::http::raise_open_files()?;
    install(&Connections::from_env()?).await?;
    namespace(NAMESPACE, true).await?;
    let client = kube::Client::try_default().await.context("cannot connect to the Kubernetes API")?;
    let name = format!("doors-{}", jiff::Timestamp::now().as_second());
    let mut manifest = manifest(NAMESPACE, &name, 1_000_000, -1, 3_600);
    manifest["spec"]["issuer"] = json!({"minReplicas": 1, "maxReplicas": 1});
    // A pod that scaling takes away would look like one that fell.
    manifest["spec"]["consumer"] = json!({"minReplicas": 1, "maxReplicas": 1});
    manifest["spec"]["deletionPolicy"] = json!("Delete");
    let sale = Sale::apply(&client, manifest).await?;
    let done = under_attack(args, &client, &sale).await;
    sale.delete("background").await?;
    done
}

async fn under_attack(args: &Args, client: &kube::Client, sale: &Sale) -> Result<bool> {
    sale.until_phase(Phase::Open, Duration::from_secs(60)).await?;
    let issuer = sale.issuer().await?;
    sale.until("Ready", Duration::from_secs(60), Sale::is_ready).await?;
    let mut weights = attacked(client, sale).await?;
    let to = targets(&weights, sale)?;

    let mut all = Tally::default();
    let quiet = Honest { issuer: issuer.clone(), rate: RATE, prefix: "quiet".to_owned() };
    report("nobody", &quiet.come(Duration::from_secs(args.seconds)).await, &Swarm::default(), &weights)?;
    let mut kinds = 0;
    for kind in Kind::iter().filter(|kind| args.kinds.is_empty() || args.kinds.contains(kind)) {
        let swarm = Arc::new(Swarm::default());
        let tally = beside(kind, &to, &issuer, Arc::clone(&swarm), Duration::from_secs(args.seconds)).await?;
        report(&kind.to_string(), &tally, &swarm, &weights)?;
        all.add(&tally);
        kinds += 1;
    }
    let (mut heaviest, mut restarts) = (Heaviest::default(), weights.restarts(client).await?);
    heaviest.add(&weights)?;
    let tally = rolled_out(client, sale, &issuer).await?;
    report("rollouts", &tally, &Swarm::default(), &Weights::default())?;
    all.add(&tally);
    kinds += 1;
    // Those that were attacked are gone; their successors have not been restarted either.
    weights = attacked(client, sale).await?;
    let targets = targets(&weights, sale)?;
    if let Some(program) = &args.schemathesis {
        let tally = fuzzed(program, &issuer, &targets).await?;
        report("fuzz", &tally, &Swarm::default(), &weights)?;
        all.add(&tally);
        kinds += 1;
    }
    heaviest.add(&weights)?;
    restarts.extend(weights.restarts(client).await?);
    for failure in all.failed.iter().take(10) {
        println!("          {} heard {} {}", failure.user, failure.status, failure.code);
    }
    for restart in &restarts {
        println!("          restarted: {restart}");
    }
    println!(
        "attack: kinds={kinds} honest_p99_ms={} honest_failed={} restarts={} rss_max_mib={}",
        all.p99_ms(),
        all.failed.len(),
        restarts.len(),
        heaviest.mib
    );
    Ok(all.failed.is_empty() && restarts.is_empty() && !heaviest.beyond)
}

/// The most that any process weighed.
#[derive(Default)]
struct Heaviest {
    mib: u64,
    /// Whether one passed its pod's limit.
    beyond: bool,
}

impl Heaviest {
    fn add(&mut self, weights: &Weights) -> Result<()> {
        let (mib, beyond) = weights.heaviest()?;
        self.mib = self.mib.max(mib);
        self.beyond |= beyond;
        Ok(())
    }
}

/// The programs as they run now.
async fn attacked(client: &kube::Client, sale: &Sale) -> Result<Weights> {
    let mut weights = Weights::default();
    for component in ["issuer", "consumer"] {
        let labels = format!("coupon-operator.io/campaign={},app.kubernetes.io/component={component}", sale.name);
        weights.add(client, NAMESPACE, &labels, &format!("coupon-{component}")).await?;
    }
    weights.add(client, SYSTEM_NAMESPACE, "app.kubernetes.io/name=coupon-operator", "coupon-operator").await?;
    Ok(weights)
}

/// All pods are replaced [`ROLLOUTS`] times, one after the other, while users come over connections that they keep.
async fn rolled_out(client: &kube::Client, sale: &Sale, issuer: &IssuerClient) -> Result<Tally> {
    let stop = CancellationToken::new();
    let coming = tokio::spawn({
        let (issuer, stop) = (issuer.clone(), stop.clone());
        async move { Honest { issuer, rate: RATE, prefix: "rollout".to_owned() }.come_until(stop).await }
    });
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let names = [format!("{}-issuer", sale.name), format!("{}-consumer", sale.name)];
    for round in 1..=ROLLOUTS {
        let mut before = Vec::new();
        for name in &names {
            before.push(deployments.get(name).await?.metadata.generation);
        }
        let patch = json!({"spec": {"rollout": {"duringWindow": "Now"}, "pods": {"annotations": {"attack": round.to_string()}}}});
        kubectl(&["patch", "campaignclass", "default", "--type=merge", "--patch", &patch.to_string()]).await?;
        for (name, before) in names.iter().zip(before) {
            until("a rollout", Duration::from_secs(120), async || {
                let found = deployments.get(name).await.map_err(|error| error.to_string())?;
                let wanted = found.spec.as_ref().and_then(|spec| spec.replicas);
                let status = found.status.clone().unwrap_or_default();
                let done = found.metadata.generation != before
                    && status.observed_generation == found.metadata.generation
                    && status.updated_replicas == wanted
                    && status.replicas == wanted
                    && status.ready_replicas == wanted;
                if done { Ok(()) } else { Err(format!("{status:?}")) }
            })
            .await?;
        }
    }
    stop.cancel();
    Ok(coming.await?)
}

fn targets(weights: &Weights, sale: &Sale) -> Result<Targets> {
    let at = |program: &str, port: u16| -> Result<SocketAddr> {
        let address = weights.addresses(program).into_iter().next().with_context(|| format!("no {program}"))?;
        Ok(SocketAddr::new(address.parse()?, port))
    };
    Ok(Targets {
        users: at("coupon-issuer", 8080)?,
        internal: vec![
            at("coupon-issuer", 8081)?,
            at("coupon-issuer", 9090)?,
            at("coupon-consumer", 9090)?,
            at("coupon-operator", 8080)?,
        ],
        path: format!("/api/coupons/{}", sale.name),
    })
}

/// Honest users beside a swarm, which has a thread of its own.
async fn beside(
    kind: Kind,
    targets: &Targets,
    issuer: &IssuerClient,
    swarm: Arc<Swarm>,
    time: Duration,
) -> Result<Tally> {
    let (addresses, count, script) = kind.plan(targets);
    let stop = CancellationToken::new();
    let (ended, pressing) = (stop.clone(), Arc::clone(&swarm));
    let thread = std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(pressing.press(addresses, count, script, ended));
        Ok(())
    });
    let tally = Honest { issuer: issuer.clone(), rate: RATE, prefix: kind.to_string() }.come(time).await;
    stop.cancel();
    thread.join().map_err(|_| anyhow::anyhow!("the swarm died"))??;
    ensure!(swarm.made.load(Ordering::Relaxed) > 0, "{kind}: no connection was made");
    Ok(tally)
}

/// Requests made of the OpenAPI document, each a little wrong.
async fn fuzzed(program: &std::path::Path, issuer: &IssuerClient, targets: &Targets) -> Result<Tally> {
    let base = format!("http://{}", targets.users);
    let document = issuer.http().get(format!("{base}/openapi.json")).send().await?.text().await?;
    // It writes what it remembers into the folder that it works in.
    let folder = std::env::temp_dir().join(format!("coupon-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("openapi.json");
    std::fs::write(&file, document)?;
    let mut command = Command::new(std::path::absolute(program)?);
    command.current_dir(&folder);
    command.arg("run").arg(&file).args(["--url", &base, "--max-examples", "40", "--checks", "not_a_server_error"]);
    command.args(["--exclude-checks", "unsupported_method", "--suppress-health-check", "all", "--no-color"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let fuzzing = tokio::task::spawn_blocking(move || command.output());
    let tally =
        Honest { issuer: issuer.clone(), rate: RATE, prefix: "fuzz".to_owned() }.come(Duration::from_secs(30)).await;
    let output =
        tokio::time::timeout(Duration::from_secs(300), fuzzing).await.context("fuzzing takes too long")???;
    std::fs::remove_dir_all(&folder)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    println!("          schemathesis: {last}");
    ensure!(output.status.success(), "schemathesis:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(tally)
}

fn report(kind: &str, tally: &Tally, swarm: &Swarm, weights: &Weights) -> Result<()> {
    println!(
        "{kind:>15}: honest {:5}, failed {:3}, p99 {:4} ms; connections {:6}, closed by us {:6}; heaviest {} MiB",
        tally.took_ms.len(),
        tally.failed.len(),
        tally.p99_ms(),
        swarm.made.load(Ordering::Relaxed),
        swarm.closed.load(Ordering::Relaxed),
        weights.heaviest()?.0
    );
    Ok(())
}
