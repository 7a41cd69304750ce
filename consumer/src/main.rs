//! `coupon-consumer`: stores the winners of one campaign.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use campaign::settings::Connections;
use campaign::telemetry;
use clap::Parser;
use consumer::config::Config;
use consumer::metrics::{self, Metrics};
use consumer::service::Service;
use consumer::status::Status;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let config = Config::parse();
    telemetry::init_logging(config.log_json);
    let result = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => {
            let result = runtime.block_on(run(config));
            // A call that hangs in a library must not keep the process from ending.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let connections = Connections::load(&config.connections)?;
    let registry = telemetry::registry(metrics::PREFIX);
    let metrics = match registry.write() {
        Ok(mut registry) => Metrics::new(&mut registry),
        Err(_) => anyhow::bail!("the metrics registry is poisoned"),
    };
    let status = Arc::new(Status::new(&config.campaign, &metrics));
    let stop = CancellationToken::new();
    let service = Service {
        campaign: config.campaign.clone(),
        connections,
        client_id: config.pod_name.clone(),
        limits: config.limits(),
        status: Arc::clone(&status),
        metrics,
    };
    let work = service.run(stop.clone());
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result.context("the consumer ended"),
        result = telemetry::serve(config.probe_listen, registry, status) => {
            result.with_context(|| format!("serving probes on {}", config.probe_listen))?;
        }
        result = telemetry::shutdown_signal() => {
            result.context("waiting for signals")?;
            tracing::info!("asked to stop");
        }
    }
    stop.cancel();
    work.await.context("stopping")
}
