//! Whether status says that coupons can be had.

use super::*;

#[test]
fn a_clock_that_is_not_believed_is_a_condition_and_users_hear_otherwise() {
    let status = status_of(&Scene::open().clocks_off(-7_200_000, Some(0)));
    assert_eq!(says(&status, ConditionType::ClocksAgree), "False/RedisClockWrong");
    assert_eq!(says(&status, ConditionType::Open), "False/RedisClockWrong");
    assert_eq!(says(&status, ConditionType::Ready), "False/RedisClockWrong");
    assert!(message(&status, ConditionType::Open).contains("2 h ahead of Redis"), "{status:?}");
    assert_eq!(status.phase, Some(Phase::Open));
    let status = status_of(&Scene::open().clocks_off(-7_200_000, None));
    assert_eq!(says(&status, ConditionType::ClocksAgree), "False/ClocksDisagree");
    let status = status_of(&Scene::open());
    assert_eq!(says(&status, ConditionType::ClocksAgree), "", "said only when it matters");
}

/// Wrong: "coupons can be had" where nobody measured that they can.
#[test]
fn a_window_is_open_only_if_an_issuer_grants_from_a_redis_that_takes_writes() {
    use ConditionType::{Open, Ready, RedisReady, WorkloadsReady};
    let parsed = redis::parse_redis_value(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    let Ok(redis::Value::ServerError(full)) = parsed else { panic!("an error reply") };
    let full = RedisError::from(redis::RedisError::from(full));
    let refuses =
        || Some(Service::Refuses("issuers are ready and grant nothing (1 Fenced); users hear 503".to_owned()));
    let denied = redis::parse_redis_value(b"-NOAUTH Authentication required.\r\n");
    let Ok(redis::Value::ServerError(denied)) = denied else { panic!("an error reply") };
    let denied = RedisError::from(redis::RedisError::from(denied));
    let quota = || Ailing { issuer: cause("PodsForbidden", "exceeded quota: two"), consumer: None };
    for (scene, lasting, open, says_part, part, ready) in [
        (
            Scene::open(),
            Lasting::default(),
            "True/WindowOpen",
            "coupons can be had",
            RedisReady,
            "True/AllChecksPassed",
        ),
        (
            Scene::open(),
            Lasting { issuers: Some(0), ailing: quota(), ..Lasting::default() },
            "False/NoReadyIssuer",
            "exceeded quota: two",
            WorkloadsReady,
            "False/PodsForbidden",
        ),
        // Wrong: "users reach nobody", while those who are connected get coupons from issuers that end.
        (
            Scene::open(),
            Lasting { issuers: Some(0), ending_issuers: 2, ..Lasting::default() },
            "False/NoReadyIssuer",
            "so users who are not connected yet reach nobody (2 that end may still answer who is connected): they start",
            WorkloadsReady,
            "False/PodsNotReady",
        ),
        (
            Scene::open(),
            Lasting { service: refuses(), ..Lasting::default() },
            "False/IssuersNotServing",
            "1 Fenced",
            WorkloadsReady,
            "False/IssuersNotServing",
        ),
        // Wrong: Redis is away from all, every user hears 503, and whether they get coupons is "not known".
        (
            Scene::open().redis_away(),
            Lasting { service: refuses(), ..Lasting::default() },
            "False/IssuersNotServing",
            "1 Fenced",
            RedisReady,
            "False/RedisUnavailable",
        ),
        (
            Scene::open(),
            Lasting { service: Some(Service::Silent), ..Lasting::default() },
            "Unknown/IssuersSilent",
            "port 8081",
            WorkloadsReady,
            "False/IssuersSilent",
        ),
        (
            Scene::open(),
            Lasting { redis_refusal: Some(&full), ..Lasting::default() },
            "False/RedisOutOfMemory",
            "raise maxmemory",
            RedisReady,
            "False/RedisOutOfMemory",
        ),
        (
            Scene::open(),
            Lasting { leads_nowhere: true, ..Lasting::default() },
            "False/ServiceLeadsNowhere",
            "Service spring-issuer has no endpoints",
            WorkloadsReady,
            "False/ServiceLeadsNowhere",
        ),
        (
            Scene::open(),
            Lasting { redis_refusal: Some(&denied), ..Lasting::default() },
            "Unknown/RedisAuthenticationFailed",
            "issuers say that they grant",
            RedisReady,
            "False/RedisAuthenticationFailed",
        ),
        (
            Scene::open().redis_away(),
            Lasting::default(),
            "Unknown/RedisUnavailable",
            "issuers say that they grant",
            RedisReady,
            "False/RedisUnavailable",
        ),
    ] {
        let status = status_while(&scene, 3, None, None, NOW, lasting);
        assert_eq!((says(&status, Open).as_str(), says(&status, Ready).as_str()), (open, ready));
        let text = message(&status, Open);
        assert!(text.contains(says_part), "{text}");
        if let Some((_, reason)) = ready.split_once("False/") {
            assert!(says(&status, part).ends_with(reason), "{}", says(&status, part));
        }
    }
}
