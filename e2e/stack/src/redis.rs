//! Redis and its Sentinels.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::layout::{OPERATOR_PASSWORD, OPERATOR_USER, SENTINEL_MASTER, WORKLOAD_PASSWORD, WORKLOAD_USER};
use crate::probe::Probe;
use crate::server::{Server, command};

const READY_WITHIN: Duration = Duration::from_secs(20);

/// Prepares a Redis that stores its data in `folder`; with `primary`, it begins as a replica of that one.
pub(crate) fn server(
    name: &str,
    address: SocketAddr,
    folder: &Path,
    log: &Path,
    primary: Option<SocketAddr>,
) -> Result<Server> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("users.acl"), users())?;
    let file = folder.join("redis.conf");
    // Redis itself rewrites the file after a failover: what stands in it then counts.
    if !file.exists() {
        fs::write(&file, configuration(address, folder, primary))?;
    }
    let (command, expect) = match primary {
        None => ("PING", "+PONG"),
        Some(_) => ("INFO replication", "master_link_status:up"),
    };
    Ok(Server {
        name: name.to_owned(),
        command: command!["redis-server", file.display()],
        log: log.to_owned(),
        address: address.to_string(),
        probe: Probe::Redis { address, password: Some(OPERATOR_PASSWORD), command, expect },
        ready_within: READY_WITHIN,
        after: Vec::new(),
        stores: true,
    })
}

/// Prepares a Sentinel that watches `primary`; two of three must agree.
pub(crate) fn sentinel(
    name: &str,
    address: SocketAddr,
    folder: &Path,
    log: &Path,
    primary: SocketAddr,
) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let file = folder.join("sentinel.conf");
    if !file.exists() {
        fs::write(&file, sentinel_configuration(address, folder, primary))?;
    }
    Ok(Server {
        name: name.to_owned(),
        command: command!["redis-sentinel", file.display()],
        log: log.to_owned(),
        address: address.to_string(),
        probe: Probe::Redis { address, password: None, command: "INFO sentinel", expect: "slaves=1,sentinels=3" },
        ready_within: READY_WITHIN,
        after: Vec::new(),
        stores: false,
    })
}

fn users() -> String {
    format!(
        "user default on >{OPERATOR_PASSWORD} ~* &* +@all\n\
         user {OPERATOR_USER} on >{OPERATOR_PASSWORD} ~* &* +@all\n\
         user {WORKLOAD_USER} on >{WORKLOAD_PASSWORD} ~coupon:* &* +@all -@dangerous +info\n"
    )
}

fn configuration(address: SocketAddr, folder: &Path, primary: Option<SocketAddr>) -> String {
    let (ip, port, folder) = (address.ip(), address.port(), folder.display());
    let mut text = format!(
        "bind {ip}\nport {port}\nprotected-mode no\ndir {folder}\naclfile {folder}/users.acl\n\
         masteruser {OPERATOR_USER}\nmasterauth {OPERATOR_PASSWORD}\n\
         appendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n"
    );
    if let Some(primary) = primary {
        text.push_str(&format!("replicaof {} {}\n", primary.ip(), primary.port()));
    }
    text
}

fn sentinel_configuration(address: SocketAddr, folder: &Path, primary: SocketAddr) -> String {
    format!(
        "bind {}\nport {}\nprotected-mode no\ndir {}\n\
         sentinel monitor {SENTINEL_MASTER} {} {} 2\n\
         sentinel auth-user {SENTINEL_MASTER} {OPERATOR_USER}\nsentinel auth-pass {SENTINEL_MASTER} {OPERATOR_PASSWORD}\n\
         sentinel down-after-milliseconds {SENTINEL_MASTER} 2000\nsentinel failover-timeout {SENTINEL_MASTER} 10000\n\
         sentinel parallel-syncs {SENTINEL_MASTER} 1\n",
        address.ip(),
        address.port(),
        folder.display(),
        primary.ip(),
        primary.port(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_replica_follows_somebody() {
        let (a, b) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        assert!(!configuration(a, Path::new("/d"), None).contains("replicaof"));
        assert!(configuration(b, Path::new("/d"), Some(a)).contains("replicaof 127.0.0.1 1\n"));
    }

    #[test]
    fn nothing_is_evicted_and_the_log_is_on() {
        let text = configuration(SocketAddr::from(([127, 0, 0, 1], 1)), Path::new("/d"), None);
        assert!(text.contains("maxmemory-policy noeviction") && text.contains("appendonly yes"));
    }
}
