//! A connection to a Redis of the test's own.

use std::time::Duration;

use coupon_ledger::redis::connect;
use coupon_testing::servers;
use redis::aio::MultiplexedConnection;
use stack::services::Redis;

pub(crate) async fn connected(server: &Redis) -> MultiplexedConnection {
    connect::connect(&servers::redis(&server.url()), Duration::from_secs(10)).await.unwrap()
}
