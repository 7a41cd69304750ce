//! `coupon-issuer`: reads its configuration and runs the service until it is told to stop.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use campaign::settings::Connections;
use campaign::shown::causes;
use campaign::telemetry::ShutdownSignal;
use campaign::{sabotage, telemetry};
use clap::Parser;
use issuer::config::{Cli, Command, Config, read_control_token};
use issuer::service::Service;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match (cli.command, cli.config) {
        (Some(Command::Openapi), _) => print_openapi(),
        (None, Some(config)) => serve(config),
        (None, None) => {
            Err(anyhow::anyhow!("COUPON_CAMPAIGN is not set: give the campaign as realm/namespace/couponId"))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not be set up yet, and the last word should be readable without it.
            let _ = writeln!(std::io::stderr(), "coupon-issuer: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn print_openapi() -> anyhow::Result<()> {
    std::io::stdout().write_all(issuer::http::openapi::document()?.as_bytes())?;
    Ok(())
}

fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::init_logging(config.log_json);
    sabotage::only_in_a_stack()?;
    let connections = Connections::load(&config.connections)?;
    let token = read_control_token(&config.control_token_file)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(run(&config, &connections, token));
    // Nothing that blocks is waited for any more: what had to be finished is.
    runtime.shutdown_background();
    result
}

async fn run(config: &Config, connections: &Connections, token: String) -> anyhow::Result<()> {
    let mut signal = ShutdownSignal::install().context("signals cannot be received")?;
    let mut service = tokio::select! {
        started = Service::start(config, connections, token) => started?,
        () = signal.received() => return Ok(()),
    };
    tokio::select! {
        () = signal.received() => {}
        failure = service.failed() => return Err(failure),
    }
    service.shut_down().await
}
