//! Where the servers of a stack are, as the programs' settings have it. `stack exec` names them in the environment.

use coupon_core::connections::{Connections, Database, DatabaseTls, Kafka, Login, Redis, RedisServer};

/// A variable of the environment.
///
/// # Panics
/// It is not set.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests through `make test`"))
}

/// Login, `host:port`, and what follows the slash, of `scheme://user:password@host:port/rest`.
fn parse_url(url: &str) -> (Login, String, String) {
    let parts = || {
        let (login, server) = url.split_once("://")?.1.split_once('@')?;
        let (username, password) = login.split_once(':')?;
        let (address, rest) = server.split_once('/').unwrap_or((server, "0"));
        let login = Login { username: username.into(), password: password.into() };
        Some((login, address.to_owned(), rest.to_owned()))
    };
    parts().unwrap_or_else(|| panic!("{url} is not scheme://user:password@host:port/name"))
}

/// The Redis of a URL such as `redis://user:password@host:port/0`.
///
/// # Panics
/// It is no such URL.
pub fn redis(url: &str) -> Redis {
    let (login, address, number) = parse_url(url);
    let database = number.parse().unwrap_or(0);
    Redis { server: RedisServer::Address(address), login, tls: false, database, ca_pem: None }
}

/// The database of a URL such as `mysql://user:password@host:port/name`.
///
/// # Panics
/// It is no such URL.
pub fn database(url: &str) -> Database {
    let (login, address, name) = parse_url(url);
    let (host, port) = address.split_once(':').unwrap();
    let (host, port) = (host.to_owned(), port.parse().unwrap());
    Database { host, port, name, login, tls: DatabaseTls::Disabled, ca_pem: None }
}

/// The Kafka of a list of brokers, `host:port,host:port`, that ask for no login.
pub fn kafka(brokers: &str) -> Kafka {
    Kafka {
        bootstrap_servers: brokers.split(',').map(str::to_owned).collect(),
        protocol: Default::default(),
        mechanism: None,
        login: Login::default(),
        ca_pem: None,
    }
}

/// With logins that may do everything.
///
/// # Panics
/// There is no stack around.
pub fn connections() -> Connections {
    connections_of("COUPON_REDIS", "COUPON_DATABASE")
}

/// With the logins of pods.
///
/// # Panics
/// There is no stack around.
pub fn workload_connections() -> Connections {
    connections_of("COUPON_REDIS_WORKLOAD", "COUPON_DATABASE_WORKLOAD")
}

fn connections_of(redis_url: &str, database_url: &str) -> Connections {
    Connections {
        kafka: kafka(&variable("COUPON_KAFKA")),
        redis: redis(&variable(redis_url)),
        database: database(&variable(database_url)),
        kafka_names: Default::default(),
    }
}
