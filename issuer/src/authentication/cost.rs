//! What it costs to know who asks: `cargo test --workspace --lib authentication::cost -- --nocapture` prints it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use coupon_core::contract::{KeySource, SignatureAlgorithm, TokenSettings};
use coupon_testing::tokens::{AUDIENCE, ISSUER, Signer, key_set, now};
use strum::VariantArray;

use super::key_set::KeySet;
use super::known_tokens::{KnownTokens, fingerprint};
use super::token::{Verdict, bearer, judge};

const NEW: u32 = 200;
const KNOWN: u32 = 5_000;
/// Far above what either takes on any machine: a check that reads keys, or a memory of tokens that is searched, would take longer.
const BOUND: Duration = Duration::from_millis(5);

fn each(times: u32, mut work: impl FnMut()) -> Duration {
    let begun = Instant::now();
    for _ in 0..times {
        work();
    }
    begun.elapsed() / times
}

#[test]
fn what_a_token_costs() {
    let settings = TokenSettings {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        claim: "sub".to_owned(),
        algorithms: SignatureAlgorithm::VARIANTS.to_vec(),
        leeway_seconds: 30,
        keys: KeySource::File { path: "keys".to_owned() },
    };
    for signer in [Signer::rsa("a"), Signer::p256("a"), Signer::ed25519("a")] {
        let (keys, known, now) = (
            KeySet::parse(key_set(&[&signer]).as_bytes(), SignatureAlgorithm::VARIANTS).unwrap(),
            KnownTokens::default(),
            now(),
        );
        let value = HeaderValue::try_from(format!("Bearer {}", signer.token("anna"))).unwrap();
        let headers: HeaderMap = [(header::AUTHORIZATION, value)].into_iter().collect();
        let token = bearer(&headers).unwrap();
        let Verdict::Good(holder) = judge(token, &settings, &keys, now) else { panic!("a good token is refused") };
        known.remember(fingerprint(token), &holder.user, holder.expires, now);
        let is_good = || assert!(matches!(judge(black_box(token), &settings, &keys, now), Verdict::Good(_)));
        let is_known = || assert!(known.user(&fingerprint(black_box(bearer(&headers).unwrap())), now).is_some());
        let (new, again) = (each(NEW, is_good), each(KNOWN, is_known));
        println!(
            "{:>5}: a new token {:.1} us, one that is known {:.2} us ({} bytes)",
            signer.algorithm(),
            new.as_secs_f64() * 1e6,
            again.as_secs_f64() * 1e6,
            token.len()
        );
        assert!(new < BOUND && again < BOUND, "{new:?}, {again:?}");
    }
}
