//! What a process takes, as the kernel counts it in `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// The kernel counts in hundredths of a second (`USER_HZ`), whatever its own clock is.
const TICK: Duration = Duration::from_millis(10);
/// Where user and system time stand behind the name, which is in brackets: fields 14 and 15 of the line.
const TIMES: [usize; 2] = [11, 12];

/// Processor time of a process, all threads together, in user mode and in the kernel.
///
/// # Errors
/// If there is no such process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let line = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has it ended?"))?;
    let ticks = ticks(&line).with_context(|| format!("{path} is not understood: {line}"))?;
    Ok(TICK.saturating_mul(ticks))
}

/// The most memory that a process had in RAM since [`forget_peak`], in bytes.
///
/// # Errors
/// If there is no such process.
pub fn peak(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM:")
}

/// The memory that a process has in RAM, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn resident(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has it ended?"))?;
    bytes(&status, name).with_context(|| format!("{path} has no {name}"))
}

/// The peak counts from now on.
///
/// # Errors
/// If there is no such process, or it is somebody else's.
pub fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    std::fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
}

fn ticks(line: &str) -> Option<u32> {
    // The name may hold anything, brackets too.
    let behind: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let [user, system] = TIMES.map(|place| behind.get(place)?.parse::<u32>().ok());
    user?.checked_add(system?)
}

fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: the time of a process whose name has spaces and brackets is another field.
    #[test]
    fn times_stand_behind_the_name_whatever_that_is() {
        let line = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 1200 34 0 0 20 0 5 0 99";
        assert_eq!(ticks(line), Some(1234));
        assert_eq!(ticks("42 (a) S 1 2"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!((bytes(status, "VmHWM:"), bytes(status, "VmRSS:")), (Some(2 * 1024 * 1024), Some(1024)));
        assert_eq!(bytes("Name:\tx\n", "VmHWM:"), None);
    }

    #[test]
    fn this_process_has_all() {
        let pid = std::process::id();
        forget_peak(pid).unwrap();
        assert!(peak(pid).unwrap() > 0 && resident(pid).unwrap() > 0);
        cpu(pid).unwrap();
        assert!(cpu(u32::MAX).is_err());
    }
}
