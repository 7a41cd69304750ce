//! Where the parts are.

use std::net::Ipv4Addr;

pub(super) const API_PORT: u16 = 6443;
pub(super) const SERVICES: &str = "10.96.0.0/16";
pub(super) const PODS: &str = "10.244.0.0/24";
/// The first address of [`SERVICES`], by which pods reach the API server.
pub(super) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
pub(super) const ETCD: &str = "http://127.0.0.1:2379";
