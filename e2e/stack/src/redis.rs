//! Redis and its Sentinels.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::layout::{OPERATOR_PASSWORD, OPERATOR_USER, SENTINEL_MASTER, WORKLOAD_PASSWORD, WORKLOAD_USER};
use crate::probe::Probe;
use crate::secured::rights::{self, Who};
use crate::secured::{ADMIN, Authority};
use crate::server::{Server, command};

const READY_WITHIN: Duration = Duration::from_secs(20);

/// What a Redis has beside the usual.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setup<'a> {
    /// With one, it is secured: it speaks TLS only, and its users have the rights that README lists.
    pub(crate) authority: Option<&'a Authority>,
    /// More lines of its configuration.
    pub(crate) further: &'a str,
}

/// Prepares a Redis that stores its data in `folder`; with `primary`, it begins as a replica of that one.
pub(crate) fn server(
    name: &str,
    address: SocketAddr,
    folder: &Path,
    log: &Path,
    primary: Option<SocketAddr>,
    setup: Setup<'_>,
) -> Result<Server> {
    let authority = setup.authority;
    fs::create_dir_all(folder)?;
    fs::write(folder.join("users.acl"), users(authority.is_some())?)?;
    let file = folder.join("redis.conf");
    // Redis itself rewrites the file after a failover: what stands in it then counts.
    if !file.exists() {
        fs::write(&file, configuration(address, folder, primary, authority) + setup.further)?;
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
        probe: match authority {
            None => Probe::Redis { address, password: Some(OPERATOR_PASSWORD), command, expect },
            Some(authority) => Probe::RedisTls { login: ADMIN, address, trusted: authority.trusted(), command, expect },
        },
        once: None,
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
    /// With one, it speaks TLS only, as the servers do that it watches.
    pub(crate) authority: Option<&'a Authority>,
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
    let Watched { password, authority, expect, .. } = *watched;
    let command = "INFO sentinel";
    let file = folder.join("sentinel.conf");
    if !file.exists() {
        fs::write(&file, sentinel_configuration(address, folder, watched))?;
    }
    Ok(Server {
        name: name.to_owned(),
        command: command!["redis-sentinel", file.display()],
        log: log.to_owned(),
        address: address.to_string(),
        probe: match authority {
            None => Probe::Redis { address, password, command, expect },
            Some(authority) => {
                let login = ("default", password.unwrap_or_default());
                Probe::RedisTls { login, address, trusted: authority.trusted(), command, expect }
            }
        },
        once: None,
        ready_within: READY_WITHIN,
        after: Vec::new(),
        stores: false,
    })
}

/// Whoever may do everything is the operator at a plain server, so that tests can, and nobody but the administrator at a secured one.
fn administrator(secured: bool) -> (&'static str, &'static str) {
    if secured { ADMIN } else { (OPERATOR_USER, OPERATOR_PASSWORD) }
}

fn users(secured: bool) -> Result<String> {
    let all = "~* &* +@all";
    let (pods, operator) = (rights::redis(Who::Pods)?, rights::redis(Who::Operator)?);
    let user = |name: &str, password: &str, rules: &str| format!("user {name} on >{password} {rules}\n");
    let (admin, password) = ADMIN;
    let own = if secured {
        ["user default off\n".to_owned(), user(admin, password, all), user(OPERATOR_USER, OPERATOR_PASSWORD, &operator)]
    } else {
        [user("default", OPERATOR_PASSWORD, all), String::new(), user(OPERATOR_USER, OPERATOR_PASSWORD, all)]
    };
    Ok(own.concat() + &user(WORKLOAD_USER, WORKLOAD_PASSWORD, &pods))
}

/// Where a Redis or Sentinel listens, and, with TLS, what it shows and trusts.
fn listening(address: SocketAddr, authority: Option<&Authority>) -> String {
    let (ip, port) = (address.ip(), address.port());
    let Some(authority) = authority else { return format!("bind {ip}\nport {port}\nprotected-mode no\n") };
    format!(
        "bind {ip}\nport 0\nprotected-mode no\n{}",
        tls(port, &authority.certificate(), &authority.key(), &authority.trusted())
    )
}

/// What makes a Redis or Sentinel speak TLS on this port.
pub(crate) fn tls(port: u16, certificate: &Path, key: &Path, trusted: &Path) -> String {
    format!(
        "tls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n\
         tls-auth-clients no\ntls-replication yes\n",
        certificate.display(),
        key.display(),
        trusted.display(),
    )
}

fn configuration(
    address: SocketAddr,
    folder: &Path,
    primary: Option<SocketAddr>,
    authority: Option<&Authority>,
) -> String {
    let (folder, (user, password)) = (folder.display(), administrator(authority.is_some()));
    let mut text = format!(
        "{}dir {folder}\naclfile {folder}/users.acl\nmasteruser {user}\nmasterauth {password}\n\
         appendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n",
        listening(address, authority),
    );
    if let Some(primary) = primary {
        text.push_str(&format!("replicaof {} {}\n", primary.ip(), primary.port()));
    }
    text
}

fn sentinel_configuration(address: SocketAddr, folder: &Path, watched: &Watched<'_>) -> String {
    let Watched { host, port, quorum, further, password: own, authority, .. } = *watched;
    let (user, password) = administrator(authority.is_some());
    // Sentinels log in to each other with the same password.
    let own = own.map(|password| format!("requirepass {password}\n")).unwrap_or_default();
    // Whether names are resolved must be known before one is met.
    format!(
        "{}{own}dir {}\n{further}\
         sentinel monitor {SENTINEL_MASTER} {host} {port} {quorum}\n\
         sentinel auth-user {SENTINEL_MASTER} {user}\nsentinel auth-pass {SENTINEL_MASTER} {password}\n\
         sentinel down-after-milliseconds {SENTINEL_MASTER} 2000\nsentinel failover-timeout {SENTINEL_MASTER} 10000\n\
         sentinel parallel-syncs {SENTINEL_MASTER} 1\n",
        listening(address, authority),
        folder.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secured::SENTINEL_PASSWORD;

    #[test]
    fn only_a_replica_follows_somebody() {
        let (a, b) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        assert!(!configuration(a, Path::new("/d"), None, None).contains("replicaof"));
        assert!(configuration(b, Path::new("/d"), Some(a), None).contains("replicaof 127.0.0.1 1\n"));
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
        let pods = format!("user {WORKLOAD_USER} on >{WORKLOAD_PASSWORD} {}\n", line("coupon-pods"));
        let operator = format!("user {OPERATOR_USER} on >{OPERATOR_PASSWORD} {}\n", line("coupon-operator"));
        let (plain, secured) = (users(false).unwrap(), users(true).unwrap());
        assert!(plain.contains(&pods), "{plain}");
        assert!(secured.contains(&pods) && secured.contains(&operator), "{secured}");
    }

    #[test]
    fn nothing_is_evicted_and_the_log_is_on() {
        let text = configuration(SocketAddr::from(([127, 0, 0, 1], 1)), Path::new("/d"), None, None);
        assert!(text.contains("maxmemory-policy noeviction") && text.contains("appendonly yes"));
    }

    #[test]
    fn a_secured_server_has_no_door_without_tls_and_login() {
        let (at, authority) = (SocketAddr::from(([127, 0, 0, 1], 7)), Authority::at(Path::new("/a")));
        let server = configuration(at, Path::new("/d"), None, Some(&authority));
        let watched = Watched {
            host: "127.0.0.1",
            port: 8,
            quorum: 2,
            further: "",
            password: Some(SENTINEL_PASSWORD),
            authority: Some(&authority),
            expect: "",
        };
        let sentinel = sentinel_configuration(at, Path::new("/d"), &watched);
        for text in [&server, &sentinel] {
            assert!(text.contains("\nport 0\n") && text.contains("\ntls-port 7\n"), "{text}");
            assert!(text.contains("tls-replication yes\n"), "{text}");
        }
        assert!(sentinel.contains("requirepass "), "{sentinel}");
        let users = users(true).unwrap();
        let all: Vec<&str> = users.lines().filter(|line| line.contains("+@all")).collect();
        assert!(
            users.starts_with("user default off\n") && matches!(all[..], [only] if only.contains(ADMIN.0)),
            "{users}"
        );
    }
}
