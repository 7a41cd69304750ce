//! Wires the operator together; nothing is decided here.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use campaign::telemetry;
use clap::Parser;
use operator::config::{Cli, Command, Config};
use operator::controller::{self, Progress};
use operator::lease::Election;
use operator::metrics::Metrics;
use tokio_util::sync::CancellationToken;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let Command::Run(config) = Cli::parse().command;
    telemetry::init_logging(config.log_json);
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let client = kube::Client::try_default().await.context("no way to the Kubernetes API")?;
    let registry = telemetry::registry("coupon");
    let metrics = Metrics::new(&registry);
    let progress = Arc::new(Progress::default());
    let probes = tokio::spawn(telemetry::serve(config.probe_listen, registry, progress.clone()));
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        if let Err(error) = telemetry::shutdown_signal().await {
            tracing::error!(%error, "signals cannot be received");
        }
        asked.cancel();
    });

    let election = Election::new(client.clone(), &config.pod_namespace, &config.pod_name);
    tokio::select! {
        () = election.acquire() => {}
        () = stop.cancelled() => return Ok(()),
    }
    tracing::info!("leading");
    metrics.leader.set(1);
    let passes = controller::run(client, config, metrics.clone(), progress, stop.clone().cancelled_owned());
    tokio::select! {
        () = passes => {}
        // No pass may go on without the lease: the process ends, and with it whatever is under way.
        lost = election.keep() => anyhow::bail!(lost),
        served = probes => {
            served.context("the probe server died")?.context("the probe server failed")?;
        }
    }
    metrics.leader.set(0);
    election.release().await;
    Ok(())
}
