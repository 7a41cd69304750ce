//! `coupon-issuer`: reads its configuration and runs the service until SIGTERM.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use coupon_core::connections::Connections;
use coupon_core::contract::AuthenticationKind;
use coupon_core::failpoints;
use coupon_core::shown::causes;
use coupon_runtime::telemetry;
use coupon_runtime::telemetry::ShutdownSignal;
use issuer::config::{Cli, Command, Config, read_control_token};
use issuer::service::Service;

/// A request is some dozens of small pieces of memory, freed by another thread than made them: with the system's allocator a sixth of
/// an issuer's time (docs/adr/0048-an-allocator-for-issuers.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match (cli.command, cli.config) {
        (Some(Command::Openapi { authentication }), _) => print_openapi(authentication),
        (None, Some(config)) => serve(config),
        (None, None) => {
            Err(anyhow::anyhow!("COUPON_CAMPAIGN is not set: give the campaign as realm/namespace/couponId"))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not be set up yet, and this message should be readable without it.
            let _ = writeln!(std::io::stderr(), "coupon-issuer: {}", causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn print_openapi(authentication: AuthenticationKind) -> anyhow::Result<()> {
    std::io::stdout().write_all(issuer::http::openapi::document(authentication)?.as_bytes())?;
    Ok(())
}

fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::init_logging(config.log_json);
    failpoints::only_in_a_stack()?;
    let connections = Connections::load(&config.connections)?;
    let token = read_control_token(&config.control_token_file)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(run(&config, &connections, token));
    // Blocking tasks are not waited for: everything that had to be finished is.
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
