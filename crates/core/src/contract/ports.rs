//! The ports of issuer and consumer pods. Outside of Kubernetes any others can be set.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Of an issuer: for users.
pub const USERS: u16 = 8080;
/// Of an issuer: for the operator alone.
pub const CONTROL: u16 = 8081;
/// Of issuers and consumers: probes and metrics.
pub const PROBES: u16 = 9090;

/// This port on all addresses, `[::]:port`, which takes IPv4 as well.
pub const fn on_all_addresses(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}
