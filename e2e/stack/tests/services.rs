//! The private servers, for real. They need what `stack install` brings.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use stack::services::{Kafka, MariaDb, Redis};

/// Sends inline commands to a Redis as the default user, and returns all that it answers to them.
fn ask(redis: &Redis, commands: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(redis.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("AUTH operator-dev\r\n{commands}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn redis_keeps_its_data_and_its_port_over_a_restart() {
    let redis = Redis::start().unwrap();
    assert!(ask(&redis, "SET coupon:x 7").unwrap().contains("+OK"));
    let address = redis.address();
    // appendfsync is everysec, but the write itself reaches the kernel before the answer: it survives the end of the process.
    redis.kill().unwrap();
    assert!(ask(&redis, "PING").is_err(), "it is dead");
    assert!(redis.kill().is_err(), "what is dead cannot be killed");
    redis.restart().unwrap();
    assert_eq!(redis.address(), address);
    assert!(ask(&redis, "GET coupon:x").unwrap().contains("7\r\n"));
}

#[test]
fn a_replica_has_what_its_primary_has() {
    let primary = Redis::start().unwrap();
    ask(&primary, "SET coupon:x 7").unwrap();
    let replica = Redis::start_replica_of(&primary).unwrap();
    assert!(ask(&replica, "GET coupon:x").unwrap().contains("7\r\n"));
}

#[test]
fn a_paused_redis_answers_nothing_until_it_resumes() {
    let redis = Redis::start().unwrap();
    redis.pause().unwrap();
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    assert!(stream.read(&mut [0; 64]).is_err(), "a frozen server does not answer");
    redis.resume().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(stream.read(&mut [0; 64]).unwrap() > 0);
}

#[test]
fn dropping_a_server_leaves_nothing() {
    let redis = Redis::start().unwrap();
    let (address, data) = (redis.address(), redis.data());
    assert!(data.exists());
    drop(redis);
    assert!(TcpStream::connect(address).is_err() && !data.exists());
}

#[test]
fn mariadb_and_kafka_start_and_restart() {
    let (database, kafka) = (MariaDb::start().unwrap(), Kafka::start().unwrap());
    assert!(database.url().starts_with("mysql://coupon_operator:") && kafka.url().starts_with("127.0.0.1:"));
    database.restart().unwrap();
    kafka.restart().unwrap();
}
