//! Showing a stack.

use anyhow::{Result, bail};

use crate::control::{Client, State};
use crate::layout::{OPERATOR_PASSWORD, OPERATOR_USER, WORKLOAD_PASSWORD, WORKLOAD_USER};
use crate::plan;

/// Prints how the stack is: as a table, or as JSON.
///
/// # Errors
/// If it does not run, or a part of it does not serve.
pub fn status(name: &str, json: bool) -> Result<()> {
    let client = Client::new(name)?;
    let Some(status) = client.status()? else {
        bail!(
            "stack {name} does not run: start it with `stack up --name {name}`; logs of an earlier one are in {}",
            client.layout().logs().display()
        );
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        println!("{:<24} {:<9} {:>5} {:>8}  {:<32} LOG", "PART", "STATE", "PID", "MEMORY", "ADDRESS");
        for part in &status.parts {
            println!(
                "{:<24} {:<9} {:>5} {:>8}  {:<32} {}",
                part.name,
                word(part.state),
                part.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                part.memory_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{} MiB", bytes >> 20)),
                part.address,
                part.log.display(),
            );
            if let Some(message) = &part.message {
                println!("    {message}");
            }
        }
        println!("\nprocess ids are those inside; `stack exec --name {name} -- COMMAND` runs a command there, with");
        for (variable, value) in plan::connections(client.layout(), &status.options).variables() {
            if let Some(value) = value {
                println!("  {variable}={value}");
            }
        }
        println!("passwords: {OPERATOR_USER} {OPERATOR_PASSWORD}, {WORKLOAD_USER} {WORKLOAD_PASSWORD}");
    }
    if status.is_ready() { Ok(()) } else { bail!("stack {name} is not ready") }
}

fn word(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Starting => "starting",
        State::Ready => "ready",
        State::Paused => "paused",
        State::Killed => "killed",
        State::Failed => "failed",
    }
}
