//! Showing a stack.

use anyhow::{Result, bail};

use crate::control::{Client, State};
use crate::layout::{OPERATOR_PASSWORD, OPERATOR_USER, WORKLOAD_PASSWORD, WORKLOAD_USER};
use crate::plan;
use crate::table::Table;

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
        let mut table = Table::new(&["PART", "STATE", "PID", "MEMORY", "ADDRESS", "LOG"]);
        for part in &status.parts {
            let pid = part.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let memory = part.memory_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
            let (name, address, log) = (part.name.clone(), part.address.clone(), part.log.display().to_string());
            table.row([name, word(part.state).to_owned(), pid, memory, address, log]);
        }
        let messages = std::iter::once(None).chain(status.parts.iter().map(|part| part.message.as_ref()));
        for (line, message) in table.lines().iter().zip(messages) {
            println!("{line}");
            if let Some(message) = message {
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
