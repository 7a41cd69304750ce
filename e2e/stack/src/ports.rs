//! Free ports on loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use anyhow::{Result, bail};

/// Below the ports that the kernel gives to clients, so that a port stays free while its server is down.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// A port that no other process that asks here gets while this lives.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// Two processes cannot have the same abstract socket, and the kernel releases it however a process ends.
    _claim: UnixListener,
}

impl Port {
    pub(crate) fn free() -> Result<Self> {
        let count = u32::from(RANGE.end - RANGE.start);
        // Processes start at different places, so that they seldom meet.
        let first = std::process::id().wrapping_mul(37) % count;
        for step in 0..count {
            let offset = u16::try_from((first + step) % count)?;
            let number = RANGE.start + offset;
            let claim = UnixAddr::from_abstract_name(format!("coupon-port-{number}"))
                .and_then(|name| UnixListener::bind_addr(&name));
            let Ok(claim) = claim else { continue };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        bail!("no port between {} and {} is free", RANGE.start, RANGE.end)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nobody_gets_the_port_of_another() {
        let ports: Vec<_> = (0..20).map(|_| Port::free().unwrap()).collect();
        let distinct: HashSet<_> = ports.iter().map(|port| port.number).collect();
        assert_eq!(distinct.len(), ports.len());
        assert!(distinct.iter().all(|number| RANGE.contains(number)));
    }
}
