//! Stopping a stack, whatever state it is in.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cache::remove_folder;
use crate::cgroup;
use crate::control::Client;
use crate::enter;
use crate::layout::Layout;

/// How long the supervisor may take to end by itself: the services' grace, and some more.
const END: Duration = Duration::from_secs(30);
/// How long the kernel may take to end everything inside.
const KILL: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// Stops the stack and removes what it stored, but for its logs. With `keep_data` the services end gracefully, and a later start continues.
///
/// # Errors
/// If a process does not end, or a file or cgroup cannot be removed.
pub fn down(name: &str, keep_data: bool) -> Result<()> {
    let client = Client::new(name)?;
    let layout = client.layout();
    enter::refuse_inside("down")?;
    if !layout.root().exists() && !cgroup::exists(name)? {
        println!("stack {name} does not exist");
        return Ok(());
    }
    let start = Instant::now();
    // The supervisor may end before its answer arrives, or hang: it is then killed below.
    if client.stop(keep_data).is_ok() {
        let deadline = Instant::now() + END;
        while outermost(layout).is_some() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
    }
    kill_outermost(layout)?;
    cgroup::remove(name)?;
    remove_folder(&layout.run())?;
    remove_folder(&layout.config())?;
    if !keep_data {
        remove_folder(&layout.data())?;
        remove_file(&layout.options_file())?;
    }
    remove_file(&layout.pid_file())?;
    println!("stack {name} is down ({:.1} s)", start.elapsed().as_secs_f64());
    Ok(())
}

/// Kills the outermost process, and with it everything inside.
pub(crate) fn kill_outermost(layout: &Layout) -> Result<()> {
    let deadline = Instant::now() + KILL;
    while let Some(pid) = outermost(layout) {
        // An error means that it has just ended.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        ensure!(Instant::now() < deadline, "process {pid} of stack {} does not end", layout.name());
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The stack's outermost process, if it lives. The command line tells it from another process that got its number since.
fn outermost(layout: &Layout) -> Option<i32> {
    let pid = fs::read_to_string(layout.pid_file()).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let ours = format!("\0inside\0init\0--name\0{}\0", layout.name());
    command.windows(ours.len()).any(|part| part == ours.as_bytes()).then_some(pid)
}

fn remove_file(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
