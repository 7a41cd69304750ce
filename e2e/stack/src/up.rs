//! Starting a stack.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cache::remove_folder;
use crate::control::{Client, State, Status};
use crate::layout::Layout;
use crate::options::Options;
use crate::process::tail;
use crate::{cgroup, down, enter, install, monitoring, plan};

/// A part fails sooner by itself; this is for the whole, with parts that wait for each other.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Starts the stack and waits until all of it serves; returns at once if it does already.
///
/// # Errors
/// If something is missing, a part fails, or the stack runs in another way than wanted.
pub fn up(name: &str, options: &Options) -> Result<()> {
    let client = Client::new(name)?;
    let layout = client.layout().clone();
    enter::refuse_inside("up")?;
    ensure!(nix::unistd::geteuid().is_root(), "a stack has namespaces of its own: start it as root");
    options.check()?;
    install::install(&options.with)?;
    if options.is_monitored() {
        monitoring::program()?;
        install::monitoring_packages()?;
    }
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
