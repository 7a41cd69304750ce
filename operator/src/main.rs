//! Wires the operator together; nothing is decided here.

use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use coupon_core::failpoints;
use coupon_core::shown::causes;
use coupon_ledger::database;
use coupon_runtime::http::raise_open_files;
use coupon_runtime::listening;
use coupon_runtime::telemetry;
use coupon_runtime::telemetry::ShutdownSignal;
use operator::config::{Cli, Command, Config, Migrations};
use operator::controller::campaign;
use operator::controller::health::{Health, Subsystem};
use operator::controller::leader_election::Election;
use operator::metrics::Metrics;
use tokio_util::sync::CancellationToken;

/// From SIGTERM to the end: what passes have to come to their end.
const LEAVING: Duration = Duration::from_millis(1500);
/// And then the lease, to be given back.
const RELEASING: Duration = Duration::from_millis(400);
/// What is promised from SIGTERM to the end (`operator/tests/process.rs`).
const PROMISED: Duration = Duration::from_secs(2);
const _: () = assert!(LEAVING.as_millis() + RELEASING.as_millis() < PROMISED.as_millis());

fn main() -> ExitCode {
    let config = match Cli::parse().command {
        Command::Run(config) => config,
        Command::Migrations(Migrations::Print { from }) => return print_migrations(from),
        Command::Migrations(Migrations::Views) => return print(database::VIEWS),
    };
    telemetry::init_logging(config.log_json);
    let error = match lead(config) {
        Ok(Ended::Asked) => return ExitCode::SUCCESS,
        Ok(Ended::LostLease) => start_anew(),
        Err(error) => error,
    };
    tracing::error!("{}", causes(&*error));
    ExitCode::FAILURE
}

fn lead(config: Config) -> anyhow::Result<Ended> {
    failpoints::only_in_a_stack()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    let result = runtime.block_on(run(config));
    // Threads that read Kafka may wait for seconds yet; nobody waits for them.
    runtime.shutdown_background();
    result
}

fn print_migrations(from: i64) -> ExitCode {
    let Some(script) = database::script(from) else {
        let newest = database::migrations().last().map_or(0, |migration| migration.version);
        eprintln!("there is no schema version {from}: this program knows 1 to {newest}");
        return ExitCode::FAILURE;
    };
    print(&script)
}

fn print(sql: &str) -> ExitCode {
    match std::io::stdout().write_all(sql.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the SQL cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How a run ends that did not fail.
enum Ended {
    /// The process was asked to leave.
    Asked,
    /// Somebody else may lead by now.
    LostLease,
}

/// Becomes a candidate again, with nothing left of before, in the same container: one that ended would be held back for minutes by
/// the kubelet, and with it the standby, as both lose the lease where the API server is slow. Comes back only if it fails.
fn start_anew() -> anyhow::Error {
    let error = match std::env::current_exe() {
        Ok(program) => std::process::Command::new(program).args(std::env::args_os().skip(1)).exec(),
        Err(error) => error,
    };
    anyhow::Error::new(error).context("the program could not be started anew")
}

/// A read that brings nothing for this long ends its connection: above the watches' own idle timeout (290 s and a margin), and
/// what ends a call on a connection that is dead.
const READ: Duration = Duration::from_secs(330);

async fn client() -> anyhow::Result<kube::Client> {
    let mut config = kube::Config::infer().await?;
    config.read_timeout = Some(READ);
    config.reset_reader_on_write = true;
    Ok(kube::Client::try_from(config)?)
}

async fn run(config: Config) -> anyhow::Result<Ended> {
    let mut signal = ShutdownSignal::install().context("signals cannot be received")?;
    raise_open_files().context("the limit of open files")?;
    let client = client().await.context("cannot connect to the Kubernetes API")?;
    let registry = telemetry::registry("coupon");
    let metrics = Metrics::new(&registry);
    let health = Arc::new(Health::default());
    let (listener, address) = listening::bind(config.probe_listen, "probes").await?;
    listening::announce(config.addresses_file.as_deref(), &[("probe", address)])?;
    tracing::info!(probe = %address, "listening");
    let probes = tokio::spawn(telemetry::serve(listener, registry, health.clone()));
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        signal.received().await;
        asked.cancel();
    });

    let election = Election::new(client.clone(), &config.pod_namespace, &config.pod_name);
    tokio::select! {
        () = election.acquire() => {}
        () = stop.cancelled() => return Ok(Ended::Asked),
    }
    tracing::info!("leading");
    metrics.leader.set(1);
    let (heart, renewed) = (Arc::clone(&health), Arc::clone(&health));
    let heartbeat = tokio::spawn(async move { heart.beat(Subsystem::Runtime).await });
    let passes = campaign::run(client, config, metrics.clone(), health, stop.clone().cancelled_owned());
    tokio::select! {
        () = passes => {}
        // Passes end between two steps if they can; one that hangs, or a list that is tried again and again, is dropped, which
        // is like a crash and what the protocol is made for.
        () = async { stop.cancelled().await; tokio::time::sleep(LEAVING).await } => {
            tracing::warn!("passes did not end within {} ms and are dropped", LEAVING.as_millis());
        }
        // No pass may go on without the lease: the program is started anew, and all running work ends with this process.
        lost = election.renew(|| renewed.heard(Subsystem::Lease)) => {
            tracing::error!("{lost}; standing by again");
            return Ok(Ended::LostLease);
        }
        ended = heartbeat => ended.context("the heartbeat died")?,
        served = probes => {
            served.context("the probe server died")?;
            anyhow::bail!("the probe server has ended");
        }
    }
    metrics.leader.set(0);
    if tokio::time::timeout(RELEASING, election.release()).await.is_err() {
        tracing::warn!("the lease could not be given back in time; it runs out by itself");
    }
    Ok(Ended::Asked)
}
