//! `make chaos`: sales while parts are killed, frozen, cut off and robbed of their memory, and a count of what was lost.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::chaos::fault::{Plan, round_seed};
use e2e::chaos::report::{Summary, line, make_room};
use e2e::chaos::test_bed::TestBed;
use e2e::install::install;
use stack::Connections;

/// Tries to break the promise of exactly N, on the stack in which it runs. It hurts shared parts: use a stack of its own.
#[derive(Parser)]
struct Arguments {
    /// How many sales.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// The seed of the first round; each round after it has the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End with the first round that fails.
    #[arg(long)]
    stop_on_failure: bool,
    /// Keep the evidence of good rounds, too.
    #[arg(long)]
    keep_all: bool,
    /// Remove a row behind the product's back in every round: shows that the machine can fail.
    #[arg(long)]
    forge: bool,
    /// Writes the sums and all times here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where rounds that failed leave their evidence, in a folder named after the seed.
    #[arg(long, default_value = "target/chaos")]
    evidence: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run =
        tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(chaos(&arguments)));
    match run {
        Ok(summary) => {
            println!("\ntime to issue again, in rounds with one fault:\n{}", summary.table());
            if !summary.failed.is_empty() {
                println!("seeds of rounds that failed: {:?}", summary.failed);
            }
            for (seed, error) in &summary.broken {
                println!("the round with seed {seed} came to no verdict: {error}");
            }
            println!("{}", summary.line());
            if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("chaos failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn chaos(arguments: &Arguments) -> Result<Summary> {
    make_room(&arguments.evidence, arguments.json.as_deref())?;
    let connections = Connections::from_env()?;
    println!("installing the operator with Helm, and a class whose connections lead through proxies");
    install(&connections).await?;
    let mut bed = TestBed::new(connections, "chaos", false).await?;
    (bed.forge, bed.keep_all) = (arguments.forge, arguments.keep_all);
    let mut summary = Summary::default();
    for number in 1..=arguments.rounds {
        let seed = round_seed(arguments.seed, number);
        let evidence = arguments.evidence.join(seed.to_string());
        let good = match bed.round(Plan::new(seed, bed.topology), &evidence).await {
            Ok(outcome) => {
                println!("{number:>4} {}", line(&outcome));
                summary.add(&outcome);
                outcome.violations.is_empty()
            }
            Err(error) => {
                println!("{number:>4} seed={seed} no verdict: {error:#}");
                summary.broken.push((seed, format!("{error:#}")));
                false
            }
        };
        if let Some(file) = &arguments.json {
            std::fs::write(file, serde_json::to_string_pretty(&summary)?)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        if !good {
            println!("     evidence: {}; repeat: make chaos ROUNDS=1 SEED={seed}", evidence.display());
            if arguments.stop_on_failure {
                break;
            }
        }
    }
    if summary.is_good() {
        bed.leave().await?;
    } else {
        println!("the namespace {0} and the class {0} stay, for a look", bed.namespace);
    }
    Ok(summary)
}
