//! `make outages SCENARIO=...`: one long proof of the promise, and whether its claim holds.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use coupon_core::failpoints::{CrashPoint, Safeguard};
use e2e::chaos::report::make_room;
use e2e::chaos::test_bed::TestBed;
use e2e::install::install;
use e2e::outages::fault_injector::FaultInjector;
use e2e::outages::report::Report;
use e2e::outages::{away, broker, crash, failover, large, restored, roll, secured, suspended, without};
use stack::Connections;

/// One long proof, on the stack in which it runs. It hurts shared parts: use a stack of its own.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    /// Where a scenario that failed leaves its evidence, in a folder of its name.
    #[arg(long, default_value = "target/outages", global = true)]
    evidence: PathBuf,
}

#[derive(Subcommand)]
enum Scenario {
    /// The database is stopped during a sale; winners are told meanwhile.
    DatabaseAway {
        /// For how long.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// Kafka is stopped during a sale; winners are told from SQL meanwhile.
    KafkaAway {
        /// For how long.
        #[arg(long, default_value_t = 2)]
        minutes: u64,
    },
    /// Redis' primary dies while its replica lags behind (a stack with Sentinels).
    RedisFailover,
    /// One of three brokers dies (a stack with three brokers).
    BrokerKilled,
    /// All brokers are restarted one after another under 200 users a second, then Redis is emptied (three brokers).
    BrokersRoll,
    /// The database is put back to a backup from the middle of the sale.
    DatabaseRestored,
    /// Redis forgets a sale with so many winners, twice; the operator works under the chart's own limits.
    RepairLarge {
        /// How many.
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=large::MOST))]
        winners: u64,
    },
    /// A sale is suspended while a system is away, which comes back before the sale goes on.
    Suspended {
        /// Which one.
        #[arg(long = "while", default_value = "redis")]
        away: suspended::Away,
    },
    /// Every password and the authority change during a sale (a stack with secured servers).
    Secured,
    /// The operator dies at each of its crash points.
    OperatorCrash {
        /// Only at this one.
        #[arg(long)]
        point: Option<CrashPoint>,
    },
    /// A defence of the operator is left out; succeeds when something is lost.
    Without {
        /// `fence` or `repair-loop`.
        #[arg(long)]
        defence: Safeguard,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run =
        tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(outages(&arguments)));
    match run {
        Ok(report) => {
            for broken in report.broken() {
                println!("does not hold: {broken}");
            }
            println!("{}", report.line());
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("outages failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn outages(arguments: &Arguments) -> Result<Report> {
    make_room(&arguments.evidence, None)?;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let evidence = |name: &str| arguments.evidence.join(name);
    let connections = Connections::from_env()?;
    println!("installing the operator with Helm, and a class whose connections lead through proxies");
    install(&connections).await?;
    let bed = TestBed::new(connections, "outages", false).await?;
    // What an earlier run left that was ended from outside.
    FaultInjector::operator(&bed.kubernetes).mend().await?;
    let report = match &arguments.scenario {
        Scenario::DatabaseAway { minutes: m } => away::database(&bed, minutes(*m), &evidence("database-away")).await,
        Scenario::KafkaAway { minutes: m } => away::kafka(&bed, minutes(*m), &evidence("kafka-away")).await,
        Scenario::RedisFailover => failover::failover(&bed, &evidence("redis-failover")).await,
        Scenario::BrokerKilled => broker::killed(&bed, &evidence("broker-killed")).await,
        Scenario::BrokersRoll => roll::brokers(&bed, &evidence("brokers-roll")).await,
        Scenario::DatabaseRestored => restored::database(&bed, &evidence("database-restored")).await,
        Scenario::RepairLarge { winners } => large::repair(&bed, *winners, &evidence("repair-large")).await,
        Scenario::Suspended { away } => suspended::without(&bed, *away, &evidence("suspended")).await,
        Scenario::Secured => secured::life(&bed, &evidence("secured")).await,
        Scenario::OperatorCrash { point } => {
            let points = point.as_ref().map_or(&crash::POINTS[..], std::slice::from_ref);
            crash::all(&bed, points, &evidence("operator-crash")).await
        }
        Scenario::Without { defence } => without::left_out(&bed, *defence).await,
    }?;
    bed.leave().await?;
    Ok(report)
}
