//! What a refusal costs: `cargo test --workspace --lib limited::cost -- --nocapture` prints it.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue};
use axum::response::IntoResponse;
use coupon_core::identity::UserId;
use coupon_runtime::telemetry;

use super::refused;
use crate::metrics::{Metrics, PREFIX};
use crate::rate_limits::RateLimiter;

const ROUNDS: u32 = 200;
const TIMES: u32 = 200;
/// What is promised, three times over: tests are compiled with little optimization.
const BOUND: Duration = Duration::from_micros(15);

/// In the quickest round: in others the processor was somebody else's for a while.
fn each(mut work: impl FnMut()) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..TIMES {
            work();
        }
        quickest = quickest.min(begun.elapsed() / TIMES);
    }
    quickest
}

/// From the head, or the user, to the answer, without what every request costs on its way in and out.
#[test]
fn what_a_refusal_costs() {
    let rate = r#"{"requests":1,"perSeconds":3600,"burst":1}"#;
    let limits = format!(
        r#"{{"perUser":{rate},"perAddress":{rate},"perPod":{rate},"trustedProxies":["10.0.0.0/8","fd00::/8","192.168.0.0/16"],
            "requiredHeader":{{"name":"x-bot-check","values":{{"listed":["passed"]}}}}}}"#
    );
    let metrics = Metrics::register(&telemetry::registry(PREFIX));
    let limiter = RateLimiter::new(&limits.parse().unwrap(), &metrics).unwrap().unwrap();
    let peer: IpAddr = "10.0.0.1".parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("198.51.100.1, 203.0.113.9, 10.0.0.2"));
    let by_header = each(|| drop(refused(limiter.admit(peer, black_box(&headers)).unwrap_err()).into_response()));
    headers.insert("x-bot-check", HeaderValue::from_static("passed"));
    assert_eq!(limiter.admit(peer, &headers), Ok(()));
    let by_address = each(|| drop(refused(limiter.admit(peer, black_box(&headers)).unwrap_err()).into_response()));
    let anna = UserId::new("anna").unwrap();
    assert_eq!(limiter.admit_user(&anna), Ok(()));
    let by_user = each(|| drop(refused(limiter.admit_user(black_box(&anna)).unwrap_err()).into_response()));
    assert_eq!(limiter.admit_to_redis(), Ok(()));
    let by_pod = each(|| drop(refused(limiter.admit_to_redis().unwrap_err()).into_response()));
    for (what, cost) in [("header", by_header), ("address", by_address), ("user", by_user), ("pod", by_pod)] {
        println!("{what:>8}: {:.2} us a refusal", cost.as_secs_f64() * 1e6);
        assert!(cost < BOUND, "{what}: {cost:?}");
    }
}
