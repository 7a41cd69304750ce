//! What is asked in which order, and what is told.

use std::net::Ipv4Addr;

use coupon_runtime::telemetry;

use super::*;
use crate::metrics;

fn limiter(limits: &str) -> (Arc<RateLimiter>, Metrics) {
    let metrics = Metrics::register(&telemetry::registry(metrics::PREFIX));
    (RateLimiter::new(&limits.parse().unwrap(), &metrics).unwrap().unwrap(), metrics)
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(203, 0, 113, last).into()
}

fn refused(metrics: &Metrics, limit: &'static str) -> u64 {
    metrics.rate_limited.get_or_create_owned(&LimitLabel { limit }).get()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

#[test]
fn where_nothing_is_limited_there_is_no_limiter() {
    let metrics = Metrics::register(&telemetry::registry(metrics::PREFIX));
    for limits in ["{}", r#"{"trustedProxies":["10.0.0.0/8"]}"#] {
        assert!(RateLimiter::new(&limits.parse().unwrap(), &metrics).unwrap().is_none(), "{limits}");
    }
}

#[test]
fn what_is_not_set_limits_nothing() {
    let (limiter, _) = limiter(r#"{"perUser":{"requests":1,"perSeconds":3600,"burst":2}}"#);
    let headers = HeaderMap::new();
    for _ in 0..100 {
        assert_eq!((limiter.admit(address(1), &headers), limiter.admit_to_redis()), (Ok(()), Ok(())));
    }
    assert_eq!((limiter.admit_user(&user("anna")), limiter.admit_user(&user("anna"))), (Ok(()), Ok(())));
    assert!(limiter.admit_user(&user("anna")).is_err());
    assert_eq!(limiter.admit_user(&user("bert")), Ok(()), "another user has a bucket of its own");
}

#[test]
fn who_is_refused_is_told_by_which_policy_and_until_when() {
    let rate = r#"{"requests":1,"perSeconds":10,"burst":3}"#;
    let (limiter, metrics) = limiter(&format!(r#"{{"perUser":{rate},"perAddress":{rate},"perPod":{rate}}}"#));
    let headers = HeaderMap::new();
    for _ in 0..3 {
        assert_eq!(limiter.admit(address(1), &headers), Ok(()));
        assert_eq!((limiter.admit_user(&user("anna")), limiter.admit_to_redis()), (Ok(()), Ok(())));
    }
    let by_address = limiter.admit(address(1), &headers).unwrap_err();
    let by_user = limiter.admit_user(&user("anna")).unwrap_err();
    for (name, refusal) in [("address", by_address), ("user", by_user)] {
        let (Refusal::Address(quota) | Refusal::User(quota)) = refusal else { panic!("{name}: {refusal:?}") };
        assert_eq!(quota.policy, format!("\"{name}\";q=3;w=30").as_str());
        let seconds = quota.limit.to_str().unwrap().strip_prefix(&format!("\"{name}\";r=0;t=")).unwrap();
        // A bit of them is over on a machine that is busy.
        let seconds: u64 = seconds.parse().unwrap();
        assert!((5..=10).contains(&seconds) && (seconds..=16).contains(&quota.retry_after), "{quota:?}");
        assert_eq!(refused(&metrics, name), 1);
    }
    assert!(matches!(limiter.admit_to_redis(), Err(Refusal::Pod(5..=16))));
    assert_eq!(refused(&metrics, "pod"), 1);
    assert_eq!(limiter.admit(address(2), &headers), Ok(()));
}

/// Wrong: a machine that comes past the gateway uses up what those of its address may ask who come through it.
#[test]
fn who_comes_past_the_gateway_counts_for_no_address() {
    let limits = r#"{"perAddress":{"requests":1,"perSeconds":3600,"burst":1},
        "requiredHeader":{"name":"x-bot-check","values":{"listed":["passed"]}}}"#;
    let (limiter, metrics) = limiter(limits);
    for _ in 0..10 {
        assert_eq!(limiter.admit(address(1), &HeaderMap::new()), Err(Refusal::Header));
    }
    let mut headers = HeaderMap::new();
    headers.insert("x-bot-check", HeaderValue::from_static("passed"));
    assert_eq!(limiter.admit(address(1), &headers), Ok(()));
    assert!(matches!(limiter.admit(address(1), &headers), Err(Refusal::Address(_))));
    assert_eq!((refused(&metrics, "header"), refused(&metrics, "address")), (10, 1));
}

#[test]
fn one_client_of_a_trusted_proxy_takes_nothing_from_another() {
    let limits = r#"{"perAddress":{"requests":1,"perSeconds":3600,"burst":1},"trustedProxies":["203.0.113.1/32"]}"#;
    let (limiter, _) = limiter(limits);
    let of = |client: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static(client));
        headers
    };
    assert_eq!(limiter.admit(address(1), &of("198.51.100.1")), Ok(()));
    assert!(limiter.admit(address(1), &of("198.51.100.1")).is_err());
    assert_eq!(limiter.admit(address(1), &of("198.51.100.2")), Ok(()));
    assert_eq!(limiter.admit(address(2), &of("198.51.100.3")), Ok(()), "not from there");
    assert!(limiter.admit(address(2), &of("198.51.100.4")).is_err(), "whoever it says it asks for");
}

#[test]
fn buckets_that_are_not_full_are_counted() {
    let (limiter, metrics) = limiter(r#"{"perUser":{"requests":1,"perSeconds":3600,"burst":2}}"#);
    for name in ["anna", "bert", "anna"] {
        assert_eq!(limiter.admit_user(&user(name)), Ok(()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let keeping =
        runtime.block_on(async { tokio::time::timeout(Duration::from_millis(10), Arc::clone(&limiter).keep()).await });
    assert!(keeping.is_err(), "it never ends");
    let label = LimitLabel { limit: "user" };
    assert_eq!(metrics.rate_limit_buckets.get_or_create_owned(&label).get(), 2);
    assert_eq!(metrics.rate_limit_evictions.get_or_create_owned(&label).get(), 0);
}
