//! Who holds the other end of a connection.

use std::net::{IpAddr, SocketAddr};

/// The address of whoever holds the other end of a connection: a client, or the last proxy in front. In the extensions of each request, where
/// [`super::Manners`] ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// An IPv4 address is one of IPv4, also where the socket takes both families.
    pub(super) fn of(address: SocketAddr) -> Self {
        Self(address.ip().to_canonical())
    }
}
