use super::*;
use axum::http::HeaderValue;
use coupon_core::contract::KeySource;
use coupon_testing::tokens::{AUDIENCE, ISSUER, Signer, base64url, claims, key_set, now, sign_hmac, unsigned};
use proptest::prelude::*;
use serde_json::{Value, json};
use strum::VariantArray;

fn taking(algorithms: &[SignatureAlgorithm]) -> TokenSettings {
    TokenSettings {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        claim: "sub".to_owned(),
        algorithms: algorithms.to_vec(),
        leeway_seconds: 30,
        keys: KeySource::File { path: "keys".to_owned() },
    }
}

fn keys(signers: &[&Signer]) -> KeySet {
    KeySet::parse(key_set(signers).as_bytes(), SignatureAlgorithm::VARIANTS).unwrap()
}

fn judged(settings: &TokenSettings, token: &str, keys: &KeySet) -> Result<String, &'static str> {
    match judge(token, settings, keys, now()) {
        Verdict::Good(holder) => Ok(holder.user.as_str().to_owned()),
        Verdict::Bad(refusal) => Err(refusal.as_str()),
        Verdict::UnknownKey => Err("unknown"),
    }
}

/// Wrong: users of a provider that signs in one of the listed ways are refused.
#[test]
fn a_good_token_is_good_in_every_way_to_sign() {
    let rules = taking(SignatureAlgorithm::VARIANTS);
    let signers = [Signer::rsa("r"), Signer::p256("p"), Signer::ed25519("e")];
    let keys = keys(&signers.each_ref());
    for signer in &signers {
        assert_eq!(judged(&rules, &signer.token("anna"), &keys), Ok("anna".to_owned()), "{}", signer.algorithm());
    }
    let mut free = signers[0].jwk();
    free.as_object_mut().unwrap().remove("alg");
    let free = KeySet::parse(json!({ "keys": [free] }).to_string().as_bytes(), SignatureAlgorithm::VARIANTS).unwrap();
    let pss = signers[0].sign_with(&json!({ "alg": "PS256", "kid": "r" }), &claims("bert"));
    assert_eq!(
        judged(&rules, &pss, &free),
        Ok("bert".to_owned()),
        "a key that names no way may sign in each of its kind"
    );
    assert_eq!(judged(&rules, &pss, &keys), Err("algorithm"), "and one that names a way in that alone");
}

#[test]
fn what_is_wrong_with_a_token_is_found() {
    use SignatureAlgorithm::{EdDsa, Es256, Rs256};
    let (es, other, rsa) = (Signer::p256("a"), Signer::p256("a"), Signer::rsa("r"));
    let set = keys(&[&es, &rsa]);
    let rules = taking(&[Es256, Rs256]);
    let good = es.token("anna");
    let part = |n: usize| good.split('.').nth(n).unwrap().to_owned();
    let of_bert = base64url(claims("bert").to_string());
    let head = |more: Value| {
        let mut head = es.head();
        head.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        head
    };
    let changed = |name: &str, value: Value| {
        let mut claims = claims("anna");
        claims[name] = value;
        es.sign(&claims)
    };
    let public = rsa.jwk()["n"].as_str().unwrap().to_owned();
    let unsecured = unsigned(&json!({ "alg": "none" }), &claims("anna"));
    for (what, token, expected) in [
        ("nothing", String::new(), "malformed"),
        ("a word", "anna".to_owned(), "malformed"),
        ("two parts", format!("{}.{}", part(0), part(1)), "malformed"),
        ("four parts", format!("{good}.{}", part(2)), "malformed"),
        ("no JSON", format!("{}.{}.{}", base64url("anna"), part(1), part(2)), "malformed"),
        ("padding", format!("{good}="), "malformed"),
        ("none", format!("{unsecured}."), "algorithm"),
        ("none, with the signature of another", format!("{unsecured}.{}", part(2)), "algorithm"),
        ("NONE", format!("{}.", unsigned(&json!({ "alg": "NONE" }), &claims("anna"))), "algorithm"),
        ("no signature", format!("{}.{}.", part(0), part(1)), "signature"),
        ("another's claims", format!("{}.{of_bert}.{}", part(0), part(2)), "signature"),
        ("another key of the same name", other.token("anna"), "signature"),
        ("HMAC with the public key", sign_hmac("r", public.as_bytes(), &claims("anna")), "algorithm"),
        ("a way that is not listed", Signer::ed25519("a").token("anna"), "algorithm"),
        ("a key of another kind", rsa.sign_with(&json!({ "alg": "RS256", "kid": "a" }), &claims("anna")), "algorithm"),
        ("an extension", es.sign_with(&head(json!({ "crit": ["b64"], "b64": true })), &claims("anna")), "critical"),
        ("no extension", es.sign_with(&head(json!({ "crit": [] })), &claims("anna")), "critical"),
        ("a detached body", es.sign_with(&head(json!({ "b64": false })), &claims("anna")), "critical"),
        ("a key of its own", other.sign_with(&head(json!({ "jwk": other.jwk() })), &claims("anna")), "signature"),
        ("no name", other.sign_with(&json!({ "alg": "ES256" }), &claims("anna")), "signature"),
        ("another name", Signer::p256("b").token("anna"), "unknown"),
        ("another issuer", changed("iss", "https://evil.example".into()), "issuer"),
        ("other audiences", changed("aud", json!(["shop"])), "audience"),
        ("an end in the past", changed("exp", (now() - 31).into()), "expired"),
        ("a beginning in the future", changed("nbf", (now() + 60).into()), "not_yet"),
        ("no user", changed("sub", Value::Null), "user"),
    ] {
        assert_eq!(judged(&rules, &token, &set), Err(expected), "{what}");
    }
    assert_eq!(judged(&rules, &es.sign_with(&json!({ "alg": "ES256" }), &claims("anna")), &set), Ok("anna".to_owned()));
    let both = keys(&[&es, &Signer::p256("c")]);
    assert_eq!(judged(&rules, &es.sign_with(&json!({ "alg": "ES256" }), &claims("anna")), &both), Err("key_not_named"));
    assert_eq!(judged(&taking(&[EdDsa]), &good, &set), Err("algorithm"));
}

/// Wrong: somebody with a token of yesterday waits for a provider that is away, and makes every issuer ask it; or who forges tokens is counted as a
/// user of the provider whose token is for others.
#[test]
fn for_a_token_that_is_bad_anyway_no_key_is_looked_for() {
    let rules = taking(&[SignatureAlgorithm::Es256]);
    let (known, gone) = (Signer::p256("a"), Signer::p256("b"));
    for (name, value, of_known) in [
        ("exp", json!(now() - 60), "expired"),
        ("aud", json!("shop"), "audience"),
        ("iss", json!("https://evil.example"), "issuer"),
        ("sub", json!(""), "user"),
    ] {
        let mut claims = claims("anna");
        claims[name] = value;
        let reason = |signer: &Signer| judged(&rules, &signer.sign(&claims), &keys(&[&known]));
        assert_eq!(reason(&gone), Err("key_unknown"), "{name}: nobody is known to have signed that");
        assert_eq!(reason(&known), Err(of_known), "{name}");
    }
}

#[test]
fn where_a_token_stands() {
    let long = format!("Bearer {}", "x".repeat(MAX_TOKEN + 1));
    let fits = format!("Bearer {}", "x".repeat(MAX_TOKEN));
    let cases: [(&[&str], Result<&str, Refusal>); 11] = [
        (&[], Err(Refusal::Missing)),
        (&["Bearer a.b.c"], Ok("a.b.c")),
        (&["bearer  a.b.c "], Ok("a.b.c")),
        (&["Bearer"], Err(Refusal::Scheme)),
        (&["Bearer "], Ok("")),
        (&["a.b.c"], Err(Refusal::Scheme)),
        (&["Basic YTpi"], Err(Refusal::Scheme)),
        (&["Bearer a.b.c", "Bearer a.b.c"], Err(Refusal::Scheme)),
        (&["Bearer a.b.c", "Basic YTpi"], Err(Refusal::Scheme)),
        (&[&long], Err(Refusal::TooLong)),
        (&[&fits], Ok(&fits[7..])),
    ];
    for (values, expected) in cases {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(bearer(&headers), expected, "{values:?}");
    }
}

proptest! {
    /// Nothing that anybody sends is good but what was signed, or makes the check panic.
    #[test]
    fn a_mangled_token(text in coupon_testing::mangled::mangled(vec![b"eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJhbm5hIn0.c2ln".to_vec()])) {
        let rules = taking(&[SignatureAlgorithm::Es256]);
        let keys = keys(&[&Signer::p256("a")]);
        let text = String::from_utf8_lossy(&text);
        prop_assert!(!matches!(judge(&text, &rules, &keys, 0), Verdict::Good(_)), "{}", text);
    }
}
