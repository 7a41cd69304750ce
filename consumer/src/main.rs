//! `coupon-consumer`: stores the winners of one campaign.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use consumer::Patience;
use consumer::config::{Cli, Command, Config};
use consumer::forget::ForgetOutcome;
use consumer::forget::args::Forget;
use consumer::metrics::{self, Metrics};
use consumer::replay::ReplayService;
use consumer::replay::args::Action;
use consumer::service::Service;
use consumer::status::Status;
use consumer::winners::args::Winners;
use consumer::winners::{self, Written};
use coupon_core::connections::Connections;
use coupon_core::failpoints;
use coupon_core::shown;
use coupon_runtime::http::raise_open_files;
use coupon_runtime::listening;
use coupon_runtime::telemetry;
use coupon_runtime::telemetry::ShutdownSignal;
use tokio_util::sync::CancellationToken;

/// Reader and writer are two threads: what one allocates the other frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A chosen dead letter is no row in the end, somebody is not forgotten everywhere, or a list of winners is not known to be whole.
const NOT_ALL_DONE: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let log_json = cli.config.as_ref().is_some_and(|config| config.log_json);
    telemetry::init_logging(log_json);
    work(cli).unwrap_or_else(|error| {
        tracing::error!("{}", shown::causes(error.as_ref()));
        ExitCode::FAILURE
    })
}

fn work(cli: Cli) -> anyhow::Result<ExitCode> {
    failpoints::only_in_a_stack()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        match (cli.command, cli.config) {
            (Some(Command::DeadLetters(action)), _) => to_its_end(dead_letters(action)).await,
            (Some(Command::Forget(wanted)), _) => to_its_end(forget(wanted)).await,
            (Some(Command::Winners(wanted)), _) => to_its_end(list_winners(wanted)).await,
            (None, Some(config)) => run(config).await.map(|()| ExitCode::SUCCESS),
            (None, None) => {
                Err(anyhow::anyhow!("COUPON_CAMPAIGN is not set: give the campaign as realm/namespace/couponId"))
            }
        }
    });
    // A call that hangs in a library must not keep the process from ending.
    runtime.shutdown_background();
    result
}

async fn dead_letters(action: Action) -> anyhow::Result<ExitCode> {
    let place = action.place();
    let service = ReplayService::new(place.campaign.clone(), Connections::load(&place.connections)?)?;
    let mut out = std::io::stdout();
    match &action {
        Action::List(list) => service.list(&list.choice, list.place.json, &mut out).await?,
        Action::Replay(replay) if !service.replay(replay, &mut out).await? => return Ok(ExitCode::from(NOT_ALL_DONE)),
        Action::Replay(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn list_winners(wanted: Winners) -> anyhow::Result<ExitCode> {
    let connections = Connections::load(&wanted.place.connections)?;
    let mut out = std::io::BufWriter::new(winners::stdout().context("no list was written")?);
    let Written { winners, given_up, verdict } = winners::write(&wanted, &connections, &mut out).await?;
    if verdict.is_whole() {
        tracing::info!(whole = true, winners, given_up, "{verdict}");
        return Ok(ExitCode::SUCCESS);
    }
    let (missing, lacks) = (verdict.missing(), verdict.lacks());
    tracing::warn!(whole = false, winners, given_up, missing, lacks, "{verdict}");
    Ok(ExitCode::from(NOT_ALL_DONE))
}

async fn forget(wanted: Forget) -> anyhow::Result<ExitCode> {
    let connections = Connections::load(&wanted.place.connections)?;
    Ok(match consumer::forget::forget(&wanted, connections, &mut std::io::stdout()).await? {
        ForgetOutcome::AllDone => ExitCode::SUCCESS,
        ForgetOutcome::SomethingLeft => ExitCode::from(NOT_ALL_DONE),
        ForgetOutcome::BrokenOff => ExitCode::FAILURE,
    })
}

async fn to_its_end(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let mut signal = ShutdownSignal::install().context("signals cannot be received")?;
    tokio::select! {
        ended = work => ended,
        () = signal.received() => {
            anyhow::bail!("stopped before the end; running it again is harmless")
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut signal = ShutdownSignal::install().context("signals cannot be received")?;
    raise_open_files().context("the limit of open files")?;
    let connections = Connections::load(&config.connections)?;
    let (listener, address) = listening::bind(config.probe_listen, "probes").await?;
    listening::announce(config.addresses_file.as_deref(), &[("probe", address)])?;
    tracing::info!(campaign = %config.campaign, probe = %address, "listening");
    let registry = telemetry::registry(metrics::PREFIX);
    let metrics = match registry.write() {
        Ok(mut registry) => Metrics::new(&mut registry),
        Err(_) => anyhow::bail!("the metrics registry is poisoned"),
    };
    let campaign = connections.campaign(config.campaign.clone());
    let status = Arc::new(Status::new(&campaign, &metrics));
    let stop = CancellationToken::new();
    let service = Service {
        campaign,
        connections,
        client_id: config.pod_name.clone(),
        limits: config.limits(),
        patience: Patience::default(),
        status: Arc::clone(&status),
        metrics,
    };
    let work = service.run(stop.clone());
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result.context("the consumer ended"),
        () = telemetry::serve(listener, registry, status) => anyhow::bail!("the probe server has ended"),
        () = signal.received() => tracing::info!("asked to stop"),
    }
    stop.cancel();
    work.await.context("stopping")
}
