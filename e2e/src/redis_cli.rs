//! What is asked of Redis in its own words, by `redis-cli`.

use anyhow::{Context, Result};
use stack::Connections;

use crate::install::run;

/// How `redis-cli` comes to a server, by its URL.
fn arguments(url: &str) -> Result<Vec<String>> {
    let mut words = ["-u", url, "--no-auth-warning"].map(str::to_owned).to_vec();
    if url.starts_with("rediss://") {
        let authority = Connections::from_env()?.authority().context("whom to trust is not known")?;
        words.extend(["--cacert".to_owned(), authority.trusted().display().to_string()]);
    }
    Ok(words)
}

/// `redis-cli` with a deadline of its own; a complaint of Redis is an error.
pub async fn redis(url: &str, command: &[&str]) -> Result<String> {
    let way = arguments(url)?;
    let mut arguments = vec!["5", "redis-cli", "-e"];
    arguments.extend(way.iter().map(String::as_str).chain(command.iter().copied()));
    run("timeout", &arguments, None).await
}
