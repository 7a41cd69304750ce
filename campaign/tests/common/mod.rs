//! A connection to a Redis of the test's own.

use std::time::Duration;

use campaign::settings::{Login, Redis as Settings, RedisServer};
use campaign::stock::connect;
use redis::aio::MultiplexedConnection;
use stack::services::Redis;

pub async fn connected(server: &Redis) -> MultiplexedConnection {
    let url = server.url();
    let (login, address) = url.strip_prefix("redis://").unwrap().split_once('@').unwrap();
    let (username, password) = login.split_once(':').unwrap();
    let settings = Settings {
        server: RedisServer::Address(address.split('/').next().unwrap().to_owned()),
        login: Login { username: username.to_owned(), password: password.to_owned() },
        tls: false,
        database: 0,
        ca_pem: None,
    };
    connect::connect(&settings, Duration::from_secs(10)).await.unwrap()
}
