//! `stack-monitoring`: see the library. `stack` starts it.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use stack::layout::Layout;
use stack_monitoring::{config, receiver, targets};

/// What a stack with `--with monitoring` needs beside Prometheus and Alertmanager; `stack` starts it.
#[derive(Debug, Parser)]
#[command(version)]
enum Command {
    /// Writes what Prometheus and Alertmanager of a stack are told.
    Configure {
        /// The stack.
        #[arg(long)]
        name: String,
    },
    /// Tells Prometheus which pods there are.
    Targets {
        /// The stack.
        #[arg(long)]
        name: String,
    },
    /// Stands for Slack and PagerDuty.
    Receiver,
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stack-monitoring: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    match command {
        Command::Configure { name } => configure(&Layout::new(name)?),
        Command::Targets { name } => runtime.block_on(targets::serve(name)),
        Command::Receiver => runtime.block_on(receiver::serve()),
    }
}

fn configure(layout: &Layout) -> Result<()> {
    let folder = layout.monitoring();
    fs::create_dir_all(&folder)?;
    for (name, text) in config::files(&folder)? {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
