//! Redis and its Sentinels.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::layout::{OPERATOR_PASSWORD, OPERATOR_USER, SENTINEL_MASTER, WORKLOAD_PASSWORD, WORKLOAD_USER};
use crate::probe::Probe;
use crate::server::{Server, command};

/// What the pods' user may do, and what the operator's may beside that: as README says, and no more.
pub(crate) const POD_RIGHTS: &str = "resetchannels ~coupon:* -@all +evalsha +script|load +info +time +del +hget +hlen +hmget +hset \
                                     +llen +lrange +ltrim +type +zadd +zcard +zmscore +zrangebyscore +zscore";
pub(crate) const MORE_RIGHTS: &str = "+exists +expire +persist +rename +rpush +unlink +zrange";

const READY_WITHIN: Duration = Duration::from_secs(20);

/// Prepares a Redis that stores its data in `folder`; with `primary`, it begins as a replica of that one. `further`: more lines of its
/// configuration.
pub(crate) fn server(
    name: &str,
    address: SocketAddr,
    folder: &Path,
    log: &Path,
    primary: Option<SocketAddr>,
    further: &str,
) -> Result<Server> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("users.acl"), users())?;
    let file = folder.join("redis.conf");
    // Redis itself rewrites the file after a failover: what stands in it then counts.
    if !file.exists() {
        fs::write(&file, configuration(address, folder, primary) + further)?;
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

/// What a Sentinel is told, and when it is ready.
pub(crate) struct Watched<'a> {
    /// Where the primary is.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// How many Sentinels must agree.
    pub(crate) quorum: u16,
    /// More lines of its configuration.
    pub(crate) further: &'a str,
    /// The password of its default user, if it has one.
    pub(crate) password: Option<&'static str>,
    /// What it says of the primary when it is ready.
    pub(crate) expect: &'static str,
}

/// Prepares a Sentinel.
pub(crate) fn sentinel(
    name: &str,
    address: SocketAddr,
    folder: &Path,
    log: &Path,
    watched: &Watched<'_>,
) -> Result<Server> {
    fs::create_dir_all(folder)?;
    let file = folder.join("sentinel.conf");
    if !file.exists() {
        fs::write(&file, sentinel_configuration(address, folder, watched))?;
    }
    Ok(Server {
        name: name.to_owned(),
        command: command!["redis-sentinel", file.display()],
        log: log.to_owned(),
        address: address.to_string(),
        probe: Probe::Redis { address, password: watched.password, command: "INFO sentinel", expect: watched.expect },
        ready_within: READY_WITHIN,
        after: Vec::new(),
        stores: false,
    })
}

fn users() -> String {
    format!(
        "user default on >{OPERATOR_PASSWORD} ~* &* +@all\n\
         user {OPERATOR_USER} on >{OPERATOR_PASSWORD} ~* &* +@all\n\
         user {WORKLOAD_USER} on >{WORKLOAD_PASSWORD} {POD_RIGHTS}\n"
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

fn sentinel_configuration(address: SocketAddr, folder: &Path, watched: &Watched<'_>) -> String {
    let Watched { host, port, quorum, further, .. } = watched;
    // Whether names are resolved must be known before one is met.
    format!(
        "bind {}\nport {}\nprotected-mode no\ndir {}\n{further}\
         sentinel monitor {SENTINEL_MASTER} {host} {port} {quorum}\n\
         sentinel auth-user {SENTINEL_MASTER} {OPERATOR_USER}\nsentinel auth-pass {SENTINEL_MASTER} {OPERATOR_PASSWORD}\n\
         sentinel down-after-milliseconds {SENTINEL_MASTER} 2000\nsentinel failover-timeout {SENTINEL_MASTER} 10000\n\
         sentinel parallel-syncs {SENTINEL_MASTER} 1\n",
        address.ip(),
        address.port(),
        folder.display(),
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

    /// Wrong: what README tells people to grant is not what the tests run with.
    #[test]
    fn readme_names_the_rights_that_everything_runs_with() {
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
        let line = |user: &str| {
            let begin = format!("ACL SETUSER {user} on >PASSWORD ");
            let line = readme.lines().find_map(|line| line.strip_prefix(&begin));
            line.unwrap_or_else(|| panic!("README has no `{begin}`")).to_owned()
        };
        assert_eq!(line("coupon-pods"), POD_RIGHTS);
        assert_eq!(line("coupon-operator"), format!("{POD_RIGHTS} {MORE_RIGHTS}"));
    }

    #[test]
    fn nothing_is_evicted_and_the_log_is_on() {
        let text = configuration(SocketAddr::from(([127, 0, 0, 1], 1)), Path::new("/d"), None);
        assert!(text.contains("maxmemory-policy noeviction") && text.contains("appendonly yes"));
    }
}
