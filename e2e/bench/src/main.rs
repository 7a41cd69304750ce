//! `bench`: what an answer, a row and a rebuild cost, beside the least that any service does, and beside a plain design. It starts real
//! servers and the programs as they are released, and counts what users hear: a round in which told, issued and stored differ does not
//! count. See `bench --help`.
//!
//! Each role is a process of its own, whose processor time the kernel counts by itself: the orchestrator (`run`), two services to compare
//! with, and the load generator.

mod load;
mod run;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures the hot path.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Arguments {
    /// What to be.
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    Run(run::Options),
    /// Serves ranks that are only counted, until it is ended.
    ServeBare(serve::Listen),
    /// Serves as a plain design does, until it is ended.
    ServePlain(serve::PlainOptions),
    Load(load::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().role {
        Role::Run(options) => run::run(&options),
        Role::ServeBare(listen) => serve::bare(&listen).map(|()| true),
        Role::ServePlain(options) => serve::plain(options).map(|()| true),
        Role::Load(options) => load::run(&options).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench: some of it does not count, see above");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
