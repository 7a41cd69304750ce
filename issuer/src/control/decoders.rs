//! What clients may send to the control port: without the token it responds 401, and with it no body makes it panic, nor sets a floor that is
//! no epoch. The port is a real one; Kafka, Redis and the database cannot be reached. `make fuzz` runs this for longer.

use clap::Parser as _;
use coupon_core::connections::Connections;
use coupon_core::event::MAX_NUMBER;
use coupon_core::yaml;
use proptest::prelude::*;
use serde_json::Value;

use crate::config::Cli;
use crate::service::Service;

use coupon_testing::mangled::mangled;

/// Nobody listens there.
const AWAY: &str = "{kafka: {bootstrapServers: ['127.0.0.1:1']}, redis: {server: {address: '127.0.0.1:1'}}, \
                    database: {host: 127.0.0.1, port: 1, name: coupons}}";
const TOKEN: &str = "0123456789abcdef";

#[test]
fn a_fence() {
    let arguments = "coupon-issuer --campaign prod/shop/spring --connections none --control-token-file none --listen 127.0.0.1:0 \
                     --control-listen 127.0.0.1:0 --probe-listen 127.0.0.1:0";
    let config = Cli::parse_from(arguments.split_whitespace()).config.unwrap();
    let connections: Connections = yaml::from_str(AWAY).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let service = runtime.block_on(Service::start(&config, &connections, TOKEN.to_owned())).unwrap();
    let (url, http) = (format!("http://{}/fence", service.addresses.control), reqwest::Client::new());
    let send = |token: &[u8], body: Vec<u8>| {
        let bearer = [b"Bearer ", token].concat();
        let value = reqwest::header::HeaderValue::from_bytes(&bearer).unwrap();
        let request =
            http.post(&url).header("authorization", value).header("content-type", "application/json").body(body);
        runtime.block_on(async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        })
    };
    let floors = vec![br#"{"floor":7}"#.to_vec(), br#"{"floor":9007199254740991}"#.to_vec()];
    proptest!(|(body in mangled(floors))| {
        let (status, answer) = send(TOKEN.as_bytes(), body);
        if status == 200 {
            prop_assert!(answer["floor"].as_u64().is_some_and(|floor| floor <= MAX_NUMBER), "{}", answer);
        } else {
            prop_assert!(matches!(status, 400 | 413 | 422), "{}: {}", status, answer);
            let error = answer["error"].as_str().unwrap_or_default();
            prop_assert!(!error.is_empty() && !error.chars().any(char::is_control), "{:?}", error);
        }
    });
    let bearer = |bytes: &Vec<u8>| bytes != TOKEN.as_bytes() && reqwest::header::HeaderValue::from_bytes(bytes).is_ok();
    let tokens = mangled(vec![TOKEN.into()]).prop_filter("a value of a header, and another one", bearer);
    proptest!(|(token in tokens)| {
        // White space at the end of a header's value is none of it.
        if !token.ends_with(b" ") && !token.ends_with(b"\t") {
            prop_assert_eq!(send(&token, br#"{"floor":7}"#.to_vec()).0, 401);
        }
    });
    runtime.shutdown_background();
}
