//! What comes from outside as bytes, whatever they are: nothing panics, what is taken is within its bounds and is the same when it is written
//! and read again, and what is refused is refused with a sentence. `make fuzz` runs this for longer.

use proptest::prelude::*;

use crate::connections::Connections;
use crate::event::{CouponIssued, MAX_NUMBER, MAX_VALUE};
use crate::identity::{CampaignId, Identity, MAX_REQUEST_KEY, MAX_USER_ID, RequestKey, UserId, member, parse_member};
use crate::user_id;
use crate::yaml;

use coupon_testing::mangled::{is_a_sentence, mangled};

const EVENT: &str = r#"{"couponId":"spring","userId":"anna","rank":7,"issuedCount":7,"occurredAt":"2026-01-01T09:00:00.125Z","n":1,"epoch":3,"requestKey":"k1"}"#;

const CONNECTIONS: &str = "\
kafka:
  bootstrapServers: ['kafka-0:9092']
  protocol: SaslTls
  mechanism: ScramSha256
  login: {username: pods, password: 'open sesame'}
redis:
  server: {sentinel: {masterName: coupons, nodes: ['s:26379'], login: {password: 'open sesame'}}}
  tls: true
  database: 1
  login:
    username: pods
    password: open sesame
database:
  host: db
  port: 3306
  name: coupons
  login: {username: pods, password: \"open sesame\"}
  tls: VerifyIdentity
";

fn text() -> impl Strategy<Value = String> {
    mangled(vec![
        b"anna".to_vec(),
        "ren\u{e9}".into(),
        b"42".to_vec(),
        b"prod/shop/spring".to_vec(),
        b"1:anna".to_vec(),
    ])
    .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

proptest! {
    #[test]
    fn the_value_of_a_record(value in mangled(vec![EVENT.into()])) {
        let campaign = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
        if let Ok(event) = CouponIssued::decode(&campaign, Some(&value)) {
            prop_assert!(value.len() <= MAX_VALUE && event.coupon_id == "spring");
            prop_assert!(event.rank > 0 && event.n > 0 && event.epoch > 0);
            prop_assert!(event.rank.max(event.epoch).max(event.issued_count) <= MAX_NUMBER);
            prop_assert!(event.user_id.as_str().len() <= MAX_USER_ID && event.request_key.as_str().len() <= MAX_REQUEST_KEY);
            prop_assert_eq!(CouponIssued::decode(&campaign, Some(&event.encode())), Ok(event));
        }
    }

    #[test]
    fn the_connections_of_a_pod(file in mangled(vec![CONNECTIONS.into()])) {
        let file = String::from_utf8_lossy(&file);
        match yaml::from_str::<Connections>(&file) {
            Ok(connections) => {
                let written = yaml::to_string(&connections).unwrap();
                prop_assert_eq!(yaml::from_str::<Connections>(&written).unwrap(), connections, "{}", written);
            }
            Err(error) => {
                let error = error.to_string();
                prop_assert!(is_a_sentence(&error) && !error.contains("sesame"), "{:?}", error);
            }
        }
    }

    #[test]
    fn user_ids_and_names(text in text()) {
        match user_id::admit(&text) {
            Ok(user) => {
                prop_assert!(user.as_str().len() <= MAX_USER_ID);
                prop_assert_eq!(user_id::admit(user.as_str()), Ok(user.clone()));
            }
            Err(error) => prop_assert!(is_a_sentence(&error.to_string()), "{}", error),
        }
        match UserId::new(text.clone()) {
            Ok(user) => {
                prop_assert_eq!(parse_member(&member(7, &user)), Some((7, user.clone())));
                prop_assert!(user_id::admit(user.as_str()).is_err() || user_id::normalised(&text).len() <= MAX_USER_ID);
            }
            Err(error) => prop_assert!(is_a_sentence(&error.to_string()), "{}", error),
        }
        match RequestKey::new(text.clone()) {
            Ok(key) => prop_assert!(key.as_str() == text && text.len() <= MAX_REQUEST_KEY),
            Err(error) => prop_assert!(is_a_sentence(&error.to_string()), "{}", error),
        }
        match text.parse::<Identity>() {
            Ok(campaign) => prop_assert_eq!(campaign.to_string(), text.clone()),
            Err(error) => prop_assert!(is_a_sentence(&error.to_string()), "{}", error),
        }
        if let Some((nth, user)) = parse_member(&text) {
            prop_assert_eq!(parse_member(&member(nth, &user)), Some((nth, user)));
        }
    }
}

/// Wrong: a typing error in a Secret puts its passwords into every pod's log.
#[test]
fn a_file_that_cannot_be_read_is_not_repeated() {
    let error = |file: &str| yaml::from_str::<Connections>(file).unwrap_err().to_string();
    for (right, wrong) in [
        ("port: 3306", "port: many"),
        ("  name: coupons\n", "  nam: coupons\n"),
        ("tls: VerifyIdentity", "tls: Perhaps"),
        ("login: {username: pods, password: \"open", "login: {username: pods password: \"open"),
        ("  database: 1\n", "  database: [1\n"),
    ] {
        let file = CONNECTIONS.replace(right, wrong);
        assert_ne!(file, CONNECTIONS, "{right}");
        let error = error(&file);
        assert!(!error.contains("sesame") && is_a_sentence(&error), "{wrong}: {error}");
    }
}

/// Wrong: a password that somebody wrote into the line beside its own stands in the log.
#[test]
fn a_value_that_is_wrong_is_never_repeated_and_its_field_and_place_are_said_once() {
    for (right, wrong, said) in [
        (
            "protocol: SaslTls",
            "protocol: sesame",
            "kafka.protocol: expected one of Plaintext, Tls, SaslPlaintext, SaslTls, at line 3,",
        ),
        (
            "mechanism: ScramSha256",
            "mechanism: sesame",
            "kafka.mechanism: expected one of Plain, ScramSha256, ScramSha512, at line 4,",
        ),
        ("tls: true", "tls: sesame", "redis.tls: expected true or false, without quotes, at line 8,"),
        (
            "database: 1",
            "database: sesame",
            "redis.database: expected a whole number from 0 to 65535, without quotes, at line 9,",
        ),
        (
            "port: 3306",
            "port: sesame",
            "database.port: expected a whole number from 1 to 65535, without quotes, at line 15,",
        ),
        (
            "port: 3306",
            "port: 5353535353",
            "database.port: expected a whole number from 1 to 65535, without quotes, at line 15,",
        ),
        (
            "tls: VerifyIdentity",
            "tls: sesame",
            "database.tls: expected one of Disabled, Required, VerifyIdentity, at line 18,",
        ),
        ("tls: VerifyIdentity", "tls: {sesame: 1}", "expected one of Disabled, Required, VerifyIdentity"),
        ("{sentinel: {", "{sesame: {", "expected one of address, sentinel"),
        ("tls: VerifyIdentity", "tls: !sesame x", "at line 18"),
        ("tls: VerifyIdentity", "tls: *sesame", "at line 18"),
        ("host: db", "host: db\n  sesame: 1\n  sesame: 2", "this key stands there twice at line 16"),
        (
            "  login:\n    username: pods\n    password: open",
            "  login:\n    username: pods\n    pasword: open",
            "password is missing here",
        ),
        ("username: pods\n", "username: [sesame]\n", "redis.login.username: expected a text"),
    ] {
        let file = CONNECTIONS.replace(right, wrong);
        assert_ne!(file, CONNECTIONS, "{right}");
        let error = yaml::from_str::<Connections>(&file).unwrap_err().to_string();
        assert!(error.contains(said), "{wrong}: {error}");
        assert!(!error.contains("sesame") && !error.contains("5353") && is_a_sentence(&error), "{wrong}: {error}");
        assert_eq!(error.matches("at line").count(), 1, "{wrong}: {error}");
    }
}
