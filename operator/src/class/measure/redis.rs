//! Redis, with one login.

use coupon_core::connections::{Redis, RedisServer};
use coupon_ledger::redis::connect::connect;
use coupon_ledger::redis::probe::{self, Role, ServerInfo};
use coupon_ledger::redis::{Denial, RedisError};

use super::clocks::ClockSample;
use super::fault::Fault;
use super::{CALL, Findings};

/// The oldest Redis whose scripts know the `#!lua` line.
const OLDEST: u32 = 7;

/// Where the server is, or the first of its Sentinels.
pub(super) fn address(settings: &Redis) -> Option<String> {
    match &settings.server {
        RedisServer::Address(address) => Some(address.clone()),
        RedisServer::Sentinel { nodes, .. } => nodes.first().cloned(),
    }
}

/// The user as Redis names it.
fn user(settings: &Redis) -> String {
    if settings.login.username.is_empty() { "default".to_owned() } else { settings.login.username.clone() }
}

/// What the server's own words forbid, and whether its scripts can be tried at all.
fn find_faults(info: &ServerInfo) -> (Vec<Fault>, bool) {
    if info.major().is_some_and(|major| major < OLDEST) {
        return (vec![Fault::RedisTooOld { found: info.version.clone().unwrap_or_default() }], false);
    }
    let mut faults = Vec::new();
    if info.is_replica {
        return (vec![Fault::RedisReplica], false);
    }
    if !info.has_identity {
        faults.push(Fault::RedisNoIdentity);
    }
    if let Some(policy) = info.eviction.clone().filter(|_| info.evicts()) {
        faults.push(Fault::RedisEvicts { policy });
    }
    (faults, true)
}

/// What it is, in words that stay the same as long as it does.
fn notes(info: &ServerInfo) -> Vec<String> {
    let version = info.version.clone().unwrap_or_else(|| "of unknown version".to_owned());
    let product = info.product.as_ref().map(|product| format!(" ({product})")).unwrap_or_default();
    let kept = match info.appends {
        Some(true) => "it writes an append-only file",
        Some(false) => {
            "it writes no append-only file: what a crash takes is rebuilt from Kafka and the database, which takes a moment"
        }
        None => "whether it keeps data over a crash is not known",
    };
    let mut all = vec![format!("Redis {version}{product} runs the scripts with both logins"), kept.to_owned()];
    if info.snapshot_failed {
        all.push("its last snapshot failed".to_owned());
    }
    all
}

/// A failed call, where it is about rights with what was asked for.
fn sorted(error: RedisError, user: &str, command: &str) -> Fault {
    if error.is_missing_right() {
        return Fault::RedisRight {
            user: user.to_owned(),
            commands: vec![command.to_owned()],
            said: error.to_string(),
        };
    }
    Fault::Redis(error)
}

/// Connects as a program would, asks what the server is, and tries every command.
pub(super) async fn check(settings: &Redis, realm: &str, role: Role) -> Findings {
    let user = user(settings);
    let mut connection = match connect(settings, CALL).await {
        Ok(connection) => connection,
        Err(error) => return Findings::of(sorted(error, &user, "INFO")),
    };
    let info = match probe::info(&mut connection).await {
        Ok(info) => info,
        Err(error) => return Findings::of(sorted(error, &user, "INFO")),
    };
    let (mut faults, usable) = find_faults(&info);
    if info.is_cluster && !matches!(probe::serves_all_slots(&mut connection).await, Ok(true)) {
        faults.push(Fault::RedisCluster);
    }
    let clock = ClockSample::measure(probe::clock(&mut connection)).await.ok();
    if !usable || faults.iter().any(|fault| matches!(fault, Fault::RedisCluster)) {
        return Findings { faults, clock, ..Findings::default() };
    }
    match probe::probe(&mut connection, realm, role).await {
        Ok(probed) if probed.failed.is_empty() => {}
        Ok(probed) => {
            let said = probed.failed[0].1.clone();
            let commands = probed.failed.into_iter().map(|(command, _)| command).collect();
            faults.push(Fault::RedisRight { user, commands, said });
        }
        Err(error) if error.denial() == Some(Denial::ReadOnly) => faults.push(Fault::RedisReplica),
        Err(error) => faults.push(sorted(error, &user, "EVALSHA or SCRIPT LOAD on the keys coupon:*")),
    }
    Findings { faults, notes: notes(&info), clock, ..Findings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> ServerInfo {
        let text = "redis_version:7.2.4\nredis_mode:standalone\nrun_id:ab\nmaster_replid:cd\nrole:master\n\
                    maxmemory_policy:noeviction\naof_enabled:1\n";
        ServerInfo::parse(text)
    }

    #[test]
    fn what_a_server_says_is_judged_before_a_script_runs() {
        let version = |version: &str| ServerInfo { version: Some(version.to_owned()), ..info() };
        let evicting = |policy: &str| ServerInfo { eviction: Some(policy.to_owned()), ..info() };
        for (info, reasons, usable) in [
            (info(), &[][..], true),
            (version("6.2.14"), &["RedisTooOld"], false),
            (version("8.0.1"), &[], true),
            (ServerInfo { version: None, ..info() }, &[], true),
            (ServerInfo { is_replica: true, ..info() }, &["RedisReadOnly"], false),
            (ServerInfo { has_identity: false, ..info() }, &["RedisIdentityMissing"], true),
            (evicting("allkeys-lru"), &["RedisEvictionPolicy"], true),
            (evicting("volatile-lru"), &[], true),
            (
                ServerInfo { has_identity: false, ..evicting("allkeys-random") },
                &["RedisIdentityMissing", "RedisEvictionPolicy"],
                true,
            ),
        ] {
            let (faults, found) = find_faults(&info);
            let found_reasons: Vec<_> = faults.iter().map(Fault::reason).collect();
            assert_eq!((found_reasons.as_slice(), found), (reasons, usable), "{info:?}");
        }
        let text = find_faults(&version("6.2.14")).0.remove(0).to_string();
        assert_eq!(text, "this is Redis 6.2.14, and the scripts need Redis 7: upgrade the server");
    }

    #[test]
    fn notes_stay_the_same() {
        let said = notes(&info()).join("; ");
        assert_eq!(said, "Redis 7.2.4 runs the scripts with both logins; it writes an append-only file");
        assert!(notes(&ServerInfo { appends: Some(false), ..info() })[1].contains("no append-only file"));
    }
}
