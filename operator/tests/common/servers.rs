//! Where the servers of the stack are, as a pod would be told.

use campaign::settings::{Connections, Database, DatabaseTls, Kafka, Login, Redis, RedisServer};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests through `make test`"))
}

/// Reads `scheme://user:password@host:port/rest` from a variable.
fn place(name: &str) -> (Login, String, String) {
    let url = variable(name);
    let parts = || {
        let (login, place) = url.split_once("://")?.1.split_once('@')?;
        let (username, password) = login.split_once(':')?;
        let (address, rest) = place.split_once('/')?;
        let login = Login { username: username.into(), password: password.into() };
        Some((login, address.to_owned(), rest.to_owned()))
    };
    parts().unwrap_or_else(|| panic!("{name} is not scheme://user:password@host:port/name"))
}

/// With all rights in each of them.
pub fn connections() -> Connections {
    let kafka = Kafka {
        bootstrap_servers: variable("COUPON_KAFKA").split(',').map(str::to_owned).collect(),
        protocol: Default::default(),
        mechanism: None,
        login: Login::default(),
        ca_pem: None,
    };
    let (login, address, number) = place("COUPON_REDIS");
    let (server, database) = (RedisServer::Address(address), number.parse().unwrap());
    let redis = Redis { server, login, tls: false, database, ca_pem: None };
    let (login, address, name) = place("COUPON_DATABASE");
    let (host, port) = address.split_once(':').unwrap();
    let (host, port) = (host.to_owned(), port.parse().unwrap());
    let database = Database { host, port, name, login, tls: DatabaseTls::Disabled, ca_pem: None };
    Connections { kafka, redis, database, kafka_names: Default::default() }
}
