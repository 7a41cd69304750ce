//! The memory of a test's own process.

/// A figure of `/proc/self/status`, in MiB: `VmRSS` is what it has, `VmHWM` its peak.
pub fn mib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// The peak counts from now on.
pub fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}
