//! How `redis-cli` comes in at a secured server.

use std::net::SocketAddr;
use std::path::Path;

/// What stands before the command. It fails where the server refuses one.
pub(crate) fn redis_cli(address: SocketAddr, (user, password): (&str, &str), trusted: &Path) -> Vec<String> {
    let (ip, port, trusted) = (address.ip().to_string(), address.port().to_string(), trusted.display().to_string());
    let server = ["redis-cli", "-e", "--no-auth-warning", "-h", &ip, "-p", &port, "--tls", "--cacert", &trusted];
    server.into_iter().chain(["--user", user, "--pass", password]).map(str::to_owned).collect()
}
