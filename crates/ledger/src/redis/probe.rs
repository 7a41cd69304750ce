//! What a Redis is and whether a user may do there what the programs do: asked and tried, on keys of no campaign.

use redis::aio::MultiplexedConnection;

use super::error::RedisError;
use super::script::PROBE;

/// Whose commands are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What pods do: issuers, and consumers that replay.
    Issuer,
    /// What the operator does: that, and repairs.
    Operator,
    /// What forgetting a person takes: what pods do, and removing what names the person.
    Forget,
}

/// What came of the try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Redis' clock, milliseconds since 1970; `None` where it may not be asked.
    pub now_ms: Option<i64>,
    /// Each command that failed, and Redis' words.
    pub failed: Vec<(String, String)>,
}

/// The keys of the try. No namespace is called `-`, so no campaign has them; what rights go by is theirs all the same.
fn keys(realm: &str) -> [String; 6] {
    let key = |what: &str| format!("coupon:{what}:{{{realm}/-/probe}}");
    ["meta", "issued", "user:count", "request", "free", "rebuild:probe:count"].map(key)
}

/// Runs every command of `role` once, as a script of the product, and leaves nothing behind.
///
/// # Errors
/// The script was refused as a whole: the server is too old for it, takes no writes, or the user may not call it.
pub async fn probe(connection: &mut MultiplexedConnection, realm: &str, role: Role) -> Result<Probed, RedisError> {
    let keys = keys(realm);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let role = match role {
        Role::Issuer => "issuer",
        Role::Operator => "operator",
        Role::Forget => "forget",
    };
    let (now, flat): (String, Vec<String>) = PROBE.call(connection, &keys, &[role]).await?;
    let now_ms = now.parse().map_err(|_| PROBE.unexpected(&now))?;
    let failed = flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    Ok(Probed { now_ms: (now_ms != 0).then_some(now_ms), failed })
}

/// What a server says of itself in `INFO`. Absent is what it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// `redis_version`, as compatible servers say it too.
    pub version: Option<String>,
    /// Another name that the server bears, such as Valkey, with its version.
    pub product: Option<String>,
    /// Whether it is a replica.
    pub is_replica: bool,
    /// Whether it is a node of a cluster.
    pub is_cluster: bool,
    /// Whether both identities are there by which a lost history is noticed.
    pub has_identity: bool,
    /// What is removed when memory is full.
    pub eviction: Option<String>,
    /// Whether an append-only file is written.
    pub appends: Option<bool>,
    /// Whether the last snapshot failed.
    pub snapshot_failed: bool,
}

impl ServerInfo {
    /// Reads the answer of `INFO`.
    pub fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines().find_map(|line| line.trim_end().strip_prefix(key)?.strip_prefix(':')).map(str::to_owned)
        };
        let is_hex =
            |key: &str| value(key).is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()));
        let product = ["valkey", "dragonfly", "garnet"]
            .into_iter()
            .find_map(|name| Some(format!("{name} {}", value(&format!("{name}_version"))?)));
        Self {
            version: value("redis_version"),
            product,
            is_replica: value("role").is_some_and(|role| role == "slave" || role == "replica"),
            is_cluster: value("redis_mode").is_some_and(|mode| mode == "cluster"),
            has_identity: is_hex("run_id") && is_hex("master_replid"),
            eviction: value("maxmemory_policy"),
            appends: value("aof_enabled").map(|on| on == "1"),
            snapshot_failed: value("rdb_last_bgsave_status").is_some_and(|status| status == "err"),
        }
    }

    /// The first number of the version.
    pub fn major(&self) -> Option<u32> {
        self.version.as_ref()?.split('.').next()?.parse().ok()
    }

    /// Whether keys without an expiry may be removed when memory is full: those of campaigns.
    pub fn evicts(&self) -> bool {
        self.eviction.as_ref().is_some_and(|policy| policy.starts_with("allkeys"))
    }
}

/// Asks a server what it is.
///
/// # Errors
/// It does not answer, or the user may not ask.
pub async fn info(connection: &mut MultiplexedConnection) -> Result<ServerInfo, RedisError> {
    let text: String = redis::cmd("INFO").query_async(connection).await?;
    Ok(ServerInfo::parse(&text))
}

/// Redis' clock, milliseconds since 1970.
///
/// # Errors
/// It does not answer, or the user may not ask.
pub async fn clock(connection: &mut MultiplexedConnection) -> Result<i64, RedisError> {
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(connection).await?;
    Ok(seconds * 1000 + micros / 1000)
}

/// Whether a node of a cluster holds all slots, so that it serves every campaign alone.
///
/// # Errors
/// It does not answer, or the user may not ask.
pub async fn serves_all_slots(connection: &mut MultiplexedConnection) -> Result<bool, RedisError> {
    let text: String = redis::cmd("CLUSTER").arg("INFO").query_async(connection).await?;
    let says = |line: &str| text.lines().any(|each| each.trim_end() == line);
    Ok(says("cluster_size:1") && says("cluster_slots_ok:16384"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_of_themselves() {
        let text = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:0a1b\r\n# Memory\r\n\
                    maxmemory_policy:allkeys-lru\r\n# Persistence\r\naof_enabled:1\r\nrdb_last_bgsave_status:ok\r\n\
                    # Replication\r\nrole:master\r\nmaster_replid:ff00\r\n";
        let info = ServerInfo::parse(text);
        assert_eq!((info.major(), info.evicts(), info.appends), (Some(7), true, Some(true)));
        assert!(info.has_identity && !info.is_replica && !info.is_cluster && !info.snapshot_failed);
        for (what, changed) in [
            ("no run id", text.replace("run_id:0a1b\r\n", "")),
            ("an empty run id", text.replace("run_id:0a1b", "run_id:")),
            ("a replication id that scripts do not find", text.replace("ff00", "?")),
        ] {
            assert!(!ServerInfo::parse(&changed).has_identity, "{what}");
        }
        for (policy, evicts) in [
            ("noeviction", false),
            ("volatile-lru", false),
            ("volatile-ttl", false),
            ("allkeys-random", true),
            ("allkeys-lfu", true),
        ] {
            assert_eq!(ServerInfo::parse(&text.replace("allkeys-lru", policy)).evicts(), evicts, "{policy}");
        }
        assert!(ServerInfo::parse(&text.replace("role:master", "role:slave")).is_replica);
        let valkey = ServerInfo::parse("redis_version:7.2.4\nserver_name:valkey\nvalkey_version:8.1.8\n");
        assert_eq!(valkey.product.as_deref(), Some("valkey 8.1.8"));
        assert_eq!(ServerInfo::parse("").major(), None);
    }

    /// Wrong: a script uses a command that nobody tried, and its right is missing when it is needed.
    #[test]
    fn every_command_of_every_script_is_tried() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../lua");
        let tried = std::fs::read_to_string(format!("{folder}/probe.lua")).unwrap();
        let (all, forgets) = tried.split_once("== 'forget'").unwrap();
        let issuers = all.split("== 'operator'").next().unwrap();
        let forget = format!("{issuers}{forgets}");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.ends_with(".lua") || name == "probe.lua" {
                continue;
            }
            let script = std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
            let pods = ["issue.lua", "history.lua", "whole.lua", "observe.lua", "grants.lua"];
            let wanted = match name.as_str() {
                "forget.lua" => &forget,
                name if pods.contains(&name) => issuers,
                _ => all,
            };
            for call in script.split("redis.call('").skip(1) {
                let command = call.split('\'').next().unwrap();
                assert!(wanted.contains(&format!("{{ '{command}'")), "{command} of {name}");
            }
        }
    }

    #[test]
    fn the_keys_of_the_try_are_no_campaigns() {
        let [meta, .., temporary] = keys("prod");
        assert_eq!(meta, "coupon:meta:{prod/-/probe}");
        assert_eq!(temporary, "coupon:rebuild:probe:count:{prod/-/probe}");
        assert!(coupon_core::identity::Identity::new("prod", "-", "probe").is_err());
    }
}
