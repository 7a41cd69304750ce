use super::*;
use coupon_testing::mangled::{is_a_sentence, mangled};
use coupon_testing::tokens::{Signer, base64url};
use proptest::prelude::*;
use serde_json::json;
use strum::VariantArray;

fn with(jwk: &Value, more: Value) -> Value {
    let mut jwk = jwk.clone();
    for (name, value) in more.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

fn parse(keys: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), SignatureAlgorithm::VARIANTS)
}

/// Wrong: one key that is not understood takes away all others, or a key that must not sign does.
#[test]
fn keys_that_cannot_be_used_are_passed_over() {
    let (rsa, p256, ed) = (Signer::rsa("r").jwk(), Signer::p256("p").jwk(), Signer::ed25519("e").jwk());
    let short = base64url([0xc1; 128]);
    for (what, jwk, is_used) in [
        ("RSA", rsa.clone(), true),
        ("P-256", p256.clone(), true),
        ("Ed25519", ed.clone(), true),
        ("with what is not known", with(&rsa, json!({ "x5c": ["MII"], "nbf": 7 })), true),
        ("with a leading zero", with(&rsa, json!({ "n": format!("AAAA{}", rsa["n"].as_str().unwrap()) })), true),
        ("for all uses", with(&rsa, json!({ "use": null })), true),
        ("for encryption", with(&rsa, json!({ "use": "enc" })), false),
        ("for signing only", with(&rsa, json!({ "key_ops": ["sign"] })), false),
        ("for encryption by algorithm", with(&rsa, json!({ "alg": "RSA-OAEP" })), false),
        ("of another algorithm", with(&p256, json!({ "alg": "RS256" })), false),
        ("of an algorithm that is not known", with(&p256, json!({ "alg": "XS256" })), false),
        ("a short one", with(&rsa, json!({ "n": short })), false),
        ("half a point", with(&p256, json!({ "y": "" })), false),
        ("no base64", with(&p256, json!({ "x": "???" })), false),
        ("another curve", with(&p256, json!({ "crv": "secp256k1" })), false),
        ("P-521", with(&p256, json!({ "crv": "P-521" })), false),
        ("a shared secret", json!({ "kty": "oct", "kid": "o", "alg": "HS256", "k": base64url("secret") }), false),
        ("another kind", json!({ "kty": "AKP", "kid": "o", "pub": "x" }), false),
        ("no kind", json!({ "kid": "o" }), false),
        ("no object", json!("key"), false),
        ("an array", json!(["EC", "p", null, null, null, "P-256", null, null, p256["x"], p256["y"]]), false),
        ("an even modulus", with(&rsa, json!({ "n": base64url([0xc2; 256]) })), false),
        ("the exponent 1", with(&rsa, json!({ "e": base64url([1]) })), false),
        ("no exponent", with(&rsa, json!({ "e": "" })), false),
        ("an even exponent", with(&rsa, json!({ "e": base64url([1, 0, 0]) })), false),
        ("no point of the curve", with(&p256, json!({ "y": p256["x"] })), false),
    ] {
        let alone = parse(std::slice::from_ref(&jwk));
        assert_eq!(alone.as_ref().ok().map(KeySet::len), is_used.then_some(1), "{what}");
        assert!(is_used || alone.err() == Some(KeySetError::NoneUsable(1)), "{what}");
        let beside = parse(&[jwk, Signer::p256("z").jwk()]).unwrap();
        assert_eq!(beside.len(), if is_used { 2 } else { 1 }, "{what}");
    }
}

#[test]
fn what_is_no_set_is_refused_in_words() {
    let key = Signer::p256("p").jwk();
    let many: Vec<Value> = vec![key.clone(); MAX_KEYS + 1];
    for (bytes, says) in [
        (b"".to_vec(), "no JWK Set"),
        (b"<html>".to_vec(), "no JSON at line 1, column 1"),
        (b"{}".to_vec(), "no list `keys`"),
        (br#"{"keys":"sesame"}"#.to_vec(), "no list `keys`"),
        (br#"[[{"kty":"EC"}]]"#.to_vec(), "no list `keys`"),
        (b"-----BEGIN PUBLIC KEY-----\nMFkw".to_vec(), "it is PEM"),
        (br#"{"issuer":"https://login.example","jwks_uri":"https://login.example/keys"}"#.to_vec(), "as jwks_uri"),
        (key.to_string().into_bytes(), "no JWK Set"),
        (br#"{"keys":{}}"#.to_vec(), "no JWK Set"),
        (br#"{"keys":[]}"#.to_vec(), "of its 0 keys none"),
        (json!({ "keys": many }).to_string().into_bytes(), "65 keys"),
        (vec![b' '; MAX_KEYS_BYTES + 1], "more than 262144 bytes"),
    ] {
        let error = KeySet::parse(&bytes, SignatureAlgorithm::VARIANTS).unwrap_err().to_string();
        assert!(error.contains(says) && is_a_sentence(&error) && !error.contains("sesame"), "{error}");
    }
    assert_eq!(parse(&many[1..]).unwrap().len(), MAX_KEYS);
}

/// Wrong: an issuer is ready with keys of which the class takes no signature, or gives up good ones for them.
#[test]
fn keys_that_sign_in_no_way_that_is_listed_are_passed_over() {
    use SignatureAlgorithm::{EdDsa, Es256, Ps256, Rs256};
    let free = with(&Signer::rsa("r").jwk(), json!({ "alg": null }));
    let set = json!({ "keys": [Signer::rsa("r").jwk(), free, Signer::p256("p").jwk()] }).to_string();
    let found = |algorithms: &[SignatureAlgorithm]| KeySet::parse(set.as_bytes(), algorithms).map(|set| set.len());
    for (algorithms, expected) in [
        (&[Rs256, Es256][..], Ok(3)),
        (&[Rs256], Ok(2)),
        (&[Ps256], Ok(1)),
        (&[Es256], Ok(1)),
        (&[EdDsa], Err(KeySetError::NoneUsable(3))),
    ] {
        assert_eq!(found(algorithms), expected, "{algorithms:?}");
    }
}

/// Wrong: tokens that were checked are forgotten at each reading, as a provider does not sort its keys.
#[test]
fn the_same_keys_are_the_same_in_any_order() {
    let (a, b, c) = (Signer::p256("a").jwk(), Signer::rsa("b").jwk(), Signer::p256("a").jwk());
    let set = |keys: &[&Value]| parse(&keys.iter().map(|key| (*key).clone()).collect::<Vec<_>>()).unwrap();
    assert!(set(&[&a, &b]).is_same(&set(&[&b, &a])));
    assert!(set(&[&a, &json!({ "kty": "oct" }), &b]).is_same(&set(&[&b, &a])), "what is not used does not count");
    for other in [set(&[&a]), set(&[&a, &c]), set(&[&c, &b]), set(&[&a, &b, &c]), set(&[&a, &a])] {
        assert!(!set(&[&a, &b]).is_same(&other) && !other.is_same(&set(&[&a, &b])));
    }
}

proptest! {
    #[test]
    fn a_mangled_set(bytes in mangled(vec![br#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"a"}]}"#.to_vec()])) {
        if let Err(error) = KeySet::parse(&bytes, SignatureAlgorithm::VARIANTS) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
