//! Starts everything, goes through the cases, and writes the report.

mod answering;
mod asking;
mod batches;
mod campaign;
mod catalogue;
mod document;
mod drain;
mod figures;
mod identities;
mod limits;
mod machine;
mod meter;
mod options;
mod overload;
mod pictures;
mod programs;
mod rebuild;
mod report;
mod round;
mod sale;
mod scrape;
mod sections;
mod servers;
mod spread;
mod stage;
mod storing;
mod told;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use stack::child;

use self::catalogue::{Case, FULL, QUICK, WARM_UP, chosen};
use self::figures::CaseOutcome;
use self::machine::Machine;
pub(crate) use self::options::Options;
use self::pictures::PICTURES;
use self::report::Report;
use self::servers::Servers;
use self::stage::Stage;

/// Runs the benchmark. Whether all that was measured counts.
///
/// # Errors
/// It could not begin, or the report cannot be written.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let cases = chosen(&options.only, options.quick)?;
    for program in ["coupon-issuer", "coupon-consumer"] {
        let path = options.programs.join(program);
        ensure!(path.exists(), "{} is missing: `make bench` builds it", path.display());
    }
    let begin = Instant::now();
    eprintln!("starting Redis, Kafka and MariaDB");
    let servers = Servers::start()?;
    // The main thread starts the programs, as they end with the thread that started them.
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let scratch = child::folder("coupon-bench")?;
    let done = runtime.block_on(go_through(options, &cases, servers, &scratch));
    let removed = std::fs::remove_dir_all(&scratch);
    let is_exact = done?;
    removed.with_context(|| format!("cannot remove {}", scratch.display()))?;
    eprintln!("{} s", begin.elapsed().as_secs());
    Ok(is_exact)
}

async fn go_through(options: &Options, cases: &[Case], servers: Servers, scratch: &Path) -> Result<bool> {
    let sizes = if options.quick { QUICK } else { FULL };
    let stage = Stage::new(servers, options.programs.clone(), scratch.to_owned(), sizes).await?;
    let machine = Machine::read(&stage).await?;
    let mut outcomes: Vec<CaseOutcome> =
        cases.iter().map(|case| CaseOutcome { name: case.name, ..CaseOutcome::default() }).collect();
    eprintln!("{}", round::line(&WARM_UP, &round::run(&stage, &WARM_UP, 0).await));
    for number in 1..=options.rounds() {
        for (case, outcome) in cases.iter().zip(&mut outcomes) {
            let round = round::run(&stage, case, number).await;
            eprintln!("[{number}/{}] {}", options.rounds(), round::line(case, &round));
            outcome.rounds.push(round);
        }
    }
    let command = std::env::var("BENCH_COMMAND").unwrap_or_else(|_| own_command());
    let (rounds, quick) = (options.rounds(), options.quick);
    let report = Report { command: &command, rounds, quick, machine: &machine, outcomes: &outcomes };
    write(options, &report)?;
    println!("{}", report.summary().trim_end());
    Ok(report.is_exact())
}

fn own_command() -> String {
    std::env::args().collect::<Vec<_>>().join(" ")
}

fn write(options: &Options, report: &Report<'_>) -> Result<()> {
    let put = |path: &Path, text: &str| {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    let text = report.markdown();
    put(&options.output.join("report.json"), &report.json()?)?;
    put(&options.output.join("report.md"), &text)?;
    let mut folders = vec![options.output.as_path()];
    if let Some(path) = &options.write {
        let old = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        put(path, &document::with(&old, &text)?)?;
        folders.push(path.parent().unwrap_or(Path::new(".")));
    }
    let footnote = format!("{}, {} cores, commit {}", report.machine.date, report.machine.cores, report.machine.commit);
    for picture in PICTURES.iter().filter(|picture| picture.is_of(report.outcomes)) {
        let svg = picture.svg(report.outcomes, &footnote);
        for folder in &folders {
            put(&folder.join(picture.file), &svg)?;
        }
    }
    Ok(())
}
