//! Which servers a stack has, for given options.

use std::net::SocketAddr;

use anyhow::Result;

use crate::connections::Connections;
use crate::install::Installed;
use crate::kafka::Doors;
use crate::layout::{
    KAFKA_ADMIN_PORT, KAFKA_PORT, KAFKA_PROXIED_PORT, KAFKA_PROXY_PORT, Layout, MARIADB_PORT, REDIS_PORT,
    SENTINEL_PORT, on_node,
};
use crate::options::{Component, Options, RedisMode};
use crate::secured::{Authority, SENTINEL_PASSWORD};
use crate::server::Server;
use crate::services::Sentinel;
use crate::{kafka, kubernetes, mariadb, monitoring, redis};

/// Prepares every server of the stack.
pub(crate) fn servers(installed: &Installed, layout: &Layout, options: &Options) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    let authority = options.is_secured().then(|| Authority::create(&layout.authority())).transpose()?;
    let authority = authority.as_ref();
    if options.has(Component::Kubernetes) {
        servers.extend(kubernetes::servers(installed, layout)?);
    }
    if options.is_monitored() {
        servers.extend(monitoring::servers(layout)?);
    }
    if options.has(Component::Kafka) {
        servers.extend(brokers(installed, layout, options.brokers, authority)?);
    }
    if options.has(Component::Redis) {
        servers.extend(redis_servers(layout, options.redis, authority)?);
    }
    if options.has(Component::Mariadb) {
        let folder = layout.data().join("mariadb");
        let (address, log) = (on_node(MARIADB_PORT), layout.log("mariadb"));
        servers.push(mariadb::server(&installed.mariadb, address, &folder, &log, authority)?);
    }
    Ok(servers)
}

/// The names of the servers that [`servers`] makes.
pub(crate) fn part_names(options: &Options) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    if options.has(Component::Kubernetes) {
        names.extend(kubernetes::PART_NAMES.map(str::to_owned));
    }
    if options.is_monitored() {
        names.extend(monitoring::PART_NAMES.map(str::to_owned));
    }
    if options.has(Component::Kafka) {
        names.extend((1..=options.brokers).map(|id| format!("kafka-{id}")));
    }
    if options.has(Component::Redis) {
        names.push("redis".to_owned());
        if options.redis == RedisMode::Sentinel {
            names.extend(["redis-replica", "sentinel-1", "sentinel-2", "sentinel-3"].map(str::to_owned));
        }
    }
    if options.has(Component::Mariadb) {
        names.push("mariadb".to_owned());
    }
    names
}

/// Where clients inside find the services.
pub(crate) fn connections(layout: &Layout, options: &Options) -> Connections {
    let kafka = options
        .has(Component::Kafka)
        .then(|| listeners(options.brokers).into_iter().map(|broker| broker.clients).collect());
    let redis = options.has(Component::Redis).then(|| on_node(REDIS_PORT));
    let sentinels = (redis.is_some() && options.redis == RedisMode::Sentinel).then(|| sentinels().collect());
    let database = options.has(Component::Mariadb).then(|| on_node(MARIADB_PORT));
    Connections::on(layout, kafka, redis, sentinels, database, options.is_secured())
}

fn listeners(brokers: u16) -> Vec<kafka::Listeners> {
    let broker = |index| {
        let port = KAFKA_PORT + 2 * index;
        let proxied = kafka::Proxied {
            listener: on_node(KAFKA_PROXIED_PORT + index),
            advertised: on_node(KAFKA_PROXY_PORT + index),
        };
        kafka::Listeners { clients: on_node(port), controller: on_node(port + 1), proxied: Some(proxied) }
    };
    (0..brokers).map(broker).collect()
}

fn sentinels() -> impl Iterator<Item = SocketAddr> {
    (0..3).map(|index| on_node(SENTINEL_PORT + index))
}

fn brokers(installed: &Installed, layout: &Layout, count: u16, authority: Option<&Authority>) -> Result<Vec<Server>> {
    let folder = |id: usize| layout.data().join(format!("kafka-{id}"));
    let cluster = listeners(count);
    let cluster_id = kafka::cluster_id(&folder(1))?;
    (1..=cluster.len())
        .zip(KAFKA_ADMIN_PORT..)
        .map(|(id, port)| {
            let doors = authority.map_or(Doors::Open, |authority| Doors::Secured { authority, admin: on_node(port) });
            kafka::server(
                &installed.kafka,
                id,
                &cluster,
                &cluster_id,
                &folder(id),
                &layout.log(&format!("kafka-{id}")),
                kafka::Setup { doors, ..kafka::Setup::default() },
            )
        })
        .collect()
}

fn redis_servers(layout: &Layout, mode: RedisMode, authority: Option<&Authority>) -> Result<Vec<Server>> {
    let data = layout.data();
    let primary = on_node(REDIS_PORT);
    let setup = redis::Setup { authority, ..redis::Setup::default() };
    let mut servers = vec![redis::server("redis", primary, &data.join("redis"), &layout.log("redis"), None, setup)?];
    if mode == RedisMode::Sentinel {
        let (name, address) = ("redis-replica", on_node(REDIS_PORT + 1));
        let mut replica = redis::server(name, address, &data.join(name), &layout.log(name), Some(primary), setup)?;
        replica.after.push("redis".to_owned());
        servers.push(replica);
        let host = primary.ip().to_string();
        let client = authority.map(|_| Sentinel::client()).unwrap_or_default();
        let watched = redis::Watched {
            host: &host,
            port: primary.port(),
            quorum: 2,
            further: &client,
            password: authority.map(|_| SENTINEL_PASSWORD),
            authority,
            expect: "slaves=1,sentinels=3",
        };
        for (number, address) in (1..).zip(sentinels()) {
            let name = format!("sentinel-{number}");
            let mut sentinel = redis::sentinel(&name, address, &data.join(&name), &layout.log(&name), &watched)?;
            sentinel.after.push("redis-replica".to_owned());
            servers.push(sentinel);
        }
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_follow_the_options() {
        let options = Options {
            brokers: 3,
            redis: RedisMode::Sentinel,
            without: vec![Component::Kubernetes, Component::Mariadb],
            with: Vec::new(),
        };
        let expected =
            ["kafka-1", "kafka-2", "kafka-3", "redis", "redis-replica", "sentinel-1", "sentinel-2", "sentinel-3"];
        assert_eq!(part_names(&options), expected);
    }
}
