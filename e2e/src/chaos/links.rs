//! The proxies of a stack: one before each Redis, broker and database, one before the issuers, and the class that leads
//! through them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use coupon_testing::proxy::{Proxy, Trouble, Victims};
use serde_json::{Value, json};
use stack::Connections;
use stack::layout::{KAFKA_PROXIED_PORT, KAFKA_PROXY_PORT, on_node};

use super::REALM;
use super::fault::{Link, Service};
use crate::install::{AUTHORITY_SECRET, class};
use crate::url::{Url, scheme};

/// The system chooses: only Kafka's proxies have ports that are known before, since brokers tell them to their clients.
const ANY_PORT: u16 = 0;

/// All proxies that stay for the whole run.
pub struct Links {
    redis: Proxy,
    kafka: Vec<Proxy>,
    database: Proxy,
}

/// A trouble on a link, until it is ended.
pub struct Running<'a>(Vec<(&'a Proxy, u64)>);

impl Running<'_> {
    /// Ends it.
    pub fn end(self) {
        for (proxy, id) in self.0 {
            proxy.end(id);
        }
    }
}

impl Links {
    /// Starts them, on the node's address, so that pods reach them.
    pub async fn start(connections: &Connections) -> Result<Self> {
        let at = |url: &Option<String>, what: &str| -> Result<String> {
            let url = Url::parse(url.as_deref().with_context(|| format!("the stack has no {what}"))?)?;
            Ok(url.address)
        };
        let redis = Proxy::start(on_node(ANY_PORT), at(&connections.redis, "Redis")?).await?;
        let database = Proxy::start(on_node(ANY_PORT), at(&connections.database, "database")?).await?;
        let brokers = connections.kafka.as_deref().context("the stack has no Kafka")?.split(',').count();
        let mut kafka = Vec::new();
        for number in 0..u16::try_from(brokers)? {
            let (listen, target) = (on_node(KAFKA_PROXY_PORT + number), on_node(KAFKA_PROXIED_PORT + number));
            kafka.push(Proxy::start(listen, target.to_string()).await?);
        }
        Ok(Self { redis, kafka, database })
    }

    /// A class whose endpoints are the proxies. Sentinels tell the real addresses: with them, Redis is reached directly.
    pub fn class(&self, connections: &Connections) -> Result<Value> {
        let mut manifest = class(REALM, connections, false)?;
        let spec = manifest.get_mut("spec").context("the class has no spec")?;
        spec["realm"] = json!(REALM);
        let brokers: Vec<String> = self.kafka.iter().map(|proxy| proxy.address.to_string()).collect();
        spec["kafka"]["bootstrapServers"] = json!(brokers);
        spec["database"]["host"] = json!(self.database.address.ip().to_string());
        spec["database"]["port"] = json!(self.database.address.port());
        spec["redis"] = match (&connections.redis_sentinels, &connections.redis_master) {
            (Some(sentinels), Some(master)) => {
                let (nodes, tls) = (sentinels.split(',').collect::<Vec<_>>(), connections.authority.is_some());
                json!({"sentinel": {"masterName": master, "nodes": nodes, "tls": tls}})
            }
            _ => json!({"url": format!("{}://{}", scheme(connections), self.redis.address)}),
        };
        if connections.authority.is_some() {
            spec["redis"]["caSecretRef"] = json!({"name": AUTHORITY_SECRET});
        }
        Ok(manifest)
    }

    /// Makes trouble on a link: `users` is the proxy before the issuers, `pods` are the addresses of the link's pods.
    pub fn begin<'a>(&'a self, link: Link, trouble: Trouble, users: &'a Proxy, pods: HashSet<IpAddr>) -> Running<'a> {
        let (proxies, victims): (Vec<&Proxy>, _) = match link {
            Link::Users => (vec![users], Victims::All),
            Link::Inner(_, service) => (self.of(service), Victims::From(pods)),
        };
        Running(proxies.into_iter().map(|proxy| (proxy, proxy.begin(victims.clone(), trouble))).collect())
    }

    /// Delays all data to and from a service, but for the pods at these addresses.
    pub fn slow(&self, service: Service, by: Duration, except: HashSet<IpAddr>) -> Running<'_> {
        let victims = Victims::Except(except);
        let begin = |proxy| -> (&Proxy, u64) { (proxy, proxy.begin(victims.clone(), Trouble::Delay(by))) };
        Running(self.of(service).into_iter().map(begin).collect())
    }

    fn of(&self, service: Service) -> Vec<&Proxy> {
        match service {
            Service::Redis => vec![&self.redis],
            Service::Kafka => self.kafka.iter().collect(),
            Service::Database => vec![&self.database],
        }
    }

    /// Ends every trouble.
    pub fn heal(&self) {
        for proxy in self.kafka.iter().chain([&self.redis, &self.database]) {
            proxy.mend();
        }
    }
}
