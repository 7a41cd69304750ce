//! Running a program to its end.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end; on failure the error holds the end of what it printed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{program}`: is it installed and on the search path?"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    let lines: Vec<_> = printed.lines().collect();
    bail!("`{program}` failed ({}):\n{}", output.status, lines[lines.len().saturating_sub(20)..].join("\n"));
}
