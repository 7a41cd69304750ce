//! Memory as the kernel and Kubernetes write it.

/// The most memory that a process ever had, bytes; `None`: it is gone.
pub(crate) fn peak(process: i32) -> Option<u64> {
    high_water(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// `VmHWM` of `/proc/<pid>/status`, bytes.
fn high_water(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// An amount of memory as Kubernetes writes it, where it is a whole number.
pub(crate) fn bytes(quantity: &str) -> Option<u64> {
    let end = quantity.find(|c: char| !c.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(end);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_and_kubernetes_write_it() {
        assert_eq!(high_water("VmPeak:\t  999 kB\nVmHWM:\t   17408 kB\nVmRSS:\t 5 kB\n"), Some(17 << 20));
        assert_eq!(high_water("Name:\tcoupon-operator\n"), None);
        for (text, expected) in [
            ("128Mi", Some(128 << 20)),
            ("1Gi", Some(1 << 30)),
            ("500M", Some(500_000_000)),
            ("7", Some(7)),
            ("0.5Gi", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
