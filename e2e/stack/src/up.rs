//! Starting a stack.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cache::remove_folder;
use crate::control::{Client, State, Status};
use crate::layout::Layout;
use crate::process::tail;
use crate::{cgroup, down, enter, install, plan};

/// A part fails sooner by itself; this is for the whole, with parts that wait for each other.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a stack can consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// One node.
    Kubernetes,
    /// One or three brokers.
    Kafka,
    /// Alone, or with a replica and Sentinels.
    Redis,
    /// One server.
    Mariadb,
}

/// How Redis runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RedisMode {
    /// One server.
    #[default]
    Single,
    /// A primary, a replica and three Sentinels.
    Sentinel,
}

/// What a stack can have in another way than the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addition {
    /// Kafka, Redis, Sentinels and MariaDB with TLS and logins, and with the rights that README lists.
    Secured,
}

/// What a stack consists of.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
pub struct Options {
    /// How many Kafka brokers: 1, or 3 (no more than one may be lost).
    #[arg(long, default_value_t = 1, value_parser = parse_brokers)]
    pub brokers: u16,
    /// How Redis runs.
    #[arg(long, value_enum, default_value_t)]
    pub redis: RedisMode,
    /// Leave these out.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub without: Vec<Component>,
    /// Add these.
    #[arg(long = "with", value_enum, value_delimiter = ',')]
    #[serde(default)]
    pub with: Vec<Addition>,
}

fn parse_brokers(text: &str) -> Result<u16, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("use 1 or 3".to_owned()),
    }
}

impl Options {
    /// Whether the stack has this component.
    #[must_use]
    pub fn has(&self, component: Component) -> bool {
        !self.without.contains(&component)
    }

    /// Whether its servers are secured.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.with.contains(&Addition::Secured)
    }

    pub(crate) fn load(layout: &Layout) -> Result<Self> {
        let file = layout.options_file();
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} holds no options", file.display()))
    }

    fn save(&self, layout: &Layout) -> Result<()> {
        Ok(fs::write(layout.options_file(), serde_json::to_vec_pretty(self)?)?)
    }
}

/// Starts the stack and waits until all of it serves; returns at once if it does already.
///
/// # Errors
/// If something is missing, a part fails, or the stack runs in another way than wanted.
pub fn up(name: &str, options: &Options) -> Result<()> {
    let client = Client::new(name)?;
    let layout = client.layout().clone();
    enter::refuse_inside("up")?;
    ensure!(nix::unistd::geteuid().is_root(), "a stack has namespaces of its own: start it as root");
    install::install()?;
    layout.create()?;
    let lock = File::create(layout.root().join("lock"))?;
    lock.lock()?;
    if let Some(status) = client.status()? {
        return join(&client, &status, options);
    }
    prepare(&layout, options)?;
    println!("stack {name}: starting {}", plan::part_names(options).join(", "));
    let mut outermost = spawn(&layout)?;
    await_ready(&client, Some(&mut outermost))
}

/// What to do about a stack that runs already.
fn join(client: &Client, status: &Status, options: &Options) -> Result<()> {
    let name = client.layout().name();
    ensure!(
        status.options == *options,
        "stack {name} runs with other options ({}): stop it with `stack down --name {name}`, or choose another name",
        serde_json::to_string(&status.options)?
    );
    if status.is_ready() {
        println!("stack {name} is up");
        return Ok(());
    }
    if status.is_starting() {
        return await_ready(client, None);
    }
    let broken: Vec<_> =
        status.parts.iter().filter(|part| part.state != State::Ready).map(|part| part.name.as_str()).collect();
    bail!(
        "stack {name} runs, but not {}: see `stack status --name {name}`; `stack start PART` starts a part again, `stack down` stops all",
        broken.join(", ")
    )
}

/// Makes the folders, and removes what an earlier life left.
fn prepare(layout: &Layout, options: &Options) -> Result<()> {
    down::kill_outermost(layout)?;
    if layout.data().exists() && Options::load(layout)? != *options {
        bail!(
            "stack {0} has kept data that was made with other options: remove it with `stack down --name {0}`, or use the same options",
            layout.name()
        );
    }
    for folder in [layout.run(), layout.config(), layout.logs()] {
        remove_folder(&folder)?;
        fs::create_dir_all(&folder)?;
    }
    // In this order: data without options would be of unknown kind.
    options.save(layout)?;
    fs::create_dir_all(layout.data())?;
    cgroup::remove(layout.name())?;
    cgroup::create(layout.name())
}

/// Starts the outermost process, in a session of its own, so that it outlives this one and its terminal.
fn spawn(layout: &Layout) -> Result<Child> {
    let log = File::create(layout.log("supervisor"))?;
    let mut command = Command::new("setsid");
    command.args([
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--uts",
        "--ipc",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ]);
    command.arg(std::env::current_exe()?).args(["inside", "init", "--name", layout.name()]);
    command.env("PATH", enter::search_path(&[])?).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    for proxy in enter::PROXIES {
        command.env_remove(proxy);
    }
    let child = command.current_dir("/").spawn().context("cannot start the stack's namespaces")?;
    // setsid and unshare turn into each other, so this is the process whose end is the end of the stack.
    fs::write(layout.pid_file(), child.id().to_string())?;
    Ok(child)
}

fn await_ready(client: &Client, mut outermost: Option<&mut Child>) -> Result<()> {
    let (name, start) = (client.layout().name(), Instant::now());
    let mut reported = BTreeSet::new();
    loop {
        let ended = match outermost.as_mut() {
            Some(child) => child.try_wait()?,
            None => None,
        };
        let status = client.status()?;
        if let Some(ended) = ended.filter(|_| status.is_none()) {
            let log = client.layout().log("supervisor");
            bail!("stack {name} ended while it started ({ended}); from {}:\n{}", log.display(), tail(&log, 20));
        }
        if let Some(status) = status {
            report(&status, &mut reported);
            if status.is_ready() {
                println!("stack {name} is up ({:.1} s)", start.elapsed().as_secs_f64());
                return Ok(());
            }
            if !status.is_starting() || status.parts.iter().any(|part| part.state == State::Failed) {
                return Err(failure(name, &status));
            }
        } else if outermost.is_none() {
            bail!("stack {name} ended while it started");
        }
        ensure!(
            start.elapsed() < READY_WITHIN,
            "stack {name} is not ready after {} s: see `stack status --name {name}`",
            READY_WITHIN.as_secs()
        );
        std::thread::sleep(LOOK);
    }
}

fn report(status: &Status, reported: &mut BTreeSet<String>) {
    for part in status.parts.iter().filter(|part| part.state == State::Ready) {
        if reported.insert(part.name.clone()) {
            let seconds = Duration::from_millis(part.ready_after_ms.unwrap_or_default()).as_secs_f64();
            println!("  {:<24} ready after {seconds:.1} s", part.name);
        }
    }
}

fn failure(name: &str, status: &Status) -> anyhow::Error {
    let mut text = format!("stack {name} did not start (remove what runs of it with `stack down --name {name}`):");
    for part in status.parts.iter().filter(|part| matches!(part.state, State::Failed | State::Killed | State::Paused)) {
        let message = part.message.as_deref().unwrap_or("it was stopped");
        text.push_str(&format!("\n{}: {message}", part.name));
        let end = tail(&part.log, 15);
        if !end.is_empty() {
            text.push_str(&format!("; from {}:\n{end}", part.log.display()));
        }
    }
    anyhow::Error::msg(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_being_stored() {
        let without = vec![Component::Kubernetes];
        let options = Options { brokers: 3, redis: RedisMode::Sentinel, without, with: vec![Addition::Secured] };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
        assert!(!options.has(Component::Kubernetes) && options.has(Component::Kafka));
    }

    #[test]
    fn the_parts_follow_the_options() {
        let options = Options {
            brokers: 3,
            redis: RedisMode::Sentinel,
            without: vec![Component::Kubernetes, Component::Mariadb],
            with: Vec::new(),
        };
        let expected =
            ["kafka-1", "kafka-2", "kafka-3", "redis", "redis-replica", "sentinel-1", "sentinel-2", "sentinel-3"];
        assert_eq!(plan::part_names(&options), expected);
    }
}
