//! What a token says, and whether that is enough.

use coupon_core::contract::TokenSettings;
use coupon_core::identity::UserId;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::given_user_id::GivenUserId;

/// What a token says (RFC 7519, section 4).
pub(super) type Claims = Map<String, Value>;

/// Whose token it is, and when it expires, in seconds of Unix time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) user: UserId,
    pub(super) expires: i64,
}

/// Judges what a token says at the time `now`, in seconds of Unix time. Whether its signature is good is not looked at here.
pub(super) fn judge(claims: &Claims, settings: &TokenSettings, now: i64) -> Result<Holder, Refusal> {
    if claims.get("iss").and_then(Value::as_str) != Some(settings.issuer.as_str()) {
        return Err(Refusal::Issuer);
    }
    if !is_for(claims.get("aud"), &settings.audiences) {
        return Err(Refusal::Audience);
    }
    let leeway = i64::from(settings.leeway_seconds);
    let expires = claims.get("exp").and_then(seconds).ok_or(Refusal::Expired)?;
    if now >= expires.saturating_add(leeway) {
        return Err(Refusal::Expired);
    }
    if let Some(begins) = claims.get("nbf") {
        let begins = seconds(begins).ok_or(Refusal::NotYet)?;
        if begins > now.saturating_add(leeway) {
            return Err(Refusal::NotYet);
        }
    }
    let named = claims.get(&settings.claim).ok_or(Refusal::User)?;
    let given = GivenUserId::deserialize(named).map_err(|_| Refusal::User)?;
    Ok(Holder { user: given.admit_unchanged().ok_or(Refusal::User)?, expires })
}

/// `aud` is one text or a list of them.
fn is_for(audience: Option<&Value>, ours: &[String]) -> bool {
    let is_ours = |value: &Value| value.as_str().is_some_and(|text| ours.iter().any(|each| each == text));
    match audience {
        Some(Value::Array(all)) => all.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    }
}

/// A NumericDate, which may have a fraction: rounded down. One that is no time of an ordinary clock is none.
fn seconds(value: &Value) -> Option<i64> {
    const FURTHEST: f64 = (1_u64 << 53) as f64;
    let seconds = value.as_f64().filter(|seconds| (0.0..=FURTHEST).contains(seconds))?;
    #[allow(clippy::cast_possible_truncation, reason = "it is within 2^53")]
    Some(seconds.floor() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coupon_core::contract::{KeySource, SignatureAlgorithm};
    use serde_json::json;

    fn settings() -> TokenSettings {
        TokenSettings {
            issuer: "https://login.example".to_owned(),
            audiences: vec!["coupons".to_owned(), "shop".to_owned()],
            claim: "sub".to_owned(),
            algorithms: vec![SignatureAlgorithm::Es256],
            leeway_seconds: 30,
            keys: KeySource::File { path: "keys".to_owned() },
        }
    }

    /// Each case changes one thing of a good token; `null` takes it out.
    #[test]
    fn what_a_token_must_say() {
        use Refusal::{Audience, Expired, Issuer, NotYet, User};
        let now = 10_000;
        let user = |text: &str| Ok(text.to_owned());
        for (changed, expected) in [
            (json!({}), user("anna")),
            (json!({"sub": "ren\u{e9}"}), user("ren\u{e9}")),
            // Who tells the two apart has two users; here they would be one.
            (json!({"sub": "rene\u{301}"}), Err(User)),
            (json!({"sub": "\u{212a}arl"}), Err(User)),
            (json!({"sub": 4711}), user("4711")),
            (json!({"sub": null}), Err(User)),
            (json!({"sub": ""}), Err(User)),
            (json!({"sub": "anna\u{200b}"}), Err(User)),
            (json!({"sub": 4.5}), Err(User)),
            (json!({"sub": ["anna"]}), Err(User)),
            (json!({"sub": true}), Err(User)),
            (json!({"iss": "https://login.example/"}), Err(Issuer)),
            (json!({"iss": "https://LOGIN.example"}), Err(Issuer)),
            (json!({"iss": ["https://login.example"]}), Err(Issuer)),
            (json!({"iss": null}), Err(Issuer)),
            (json!({"aud": "shop"}), user("anna")),
            (json!({"aud": ["other", "coupons"]}), user("anna")),
            (json!({"aud": ["other"]}), Err(Audience)),
            (json!({"aud": []}), Err(Audience)),
            (json!({"aud": "coupon"}), Err(Audience)),
            (json!({"aud": {"coupons": true}}), Err(Audience)),
            (json!({"aud": null}), Err(Audience)),
            (json!({"exp": 9_971}), user("anna")),
            (json!({"exp": 9_971.9}), user("anna")),
            (json!({"exp": 9_970}), Err(Expired)),
            (json!({"exp": 0}), Err(Expired)),
            (json!({"exp": -1}), Err(Expired)),
            (json!({"exp": "20000"}), Err(Expired)),
            (json!({"exp": 1e300}), Err(Expired)),
            (json!({"exp": null}), Err(Expired)),
            (json!({"nbf": 10_030}), user("anna")),
            (json!({"nbf": 10_031}), Err(NotYet)),
            (json!({"nbf": "0"}), Err(NotYet)),
            (json!({"iat": 99_999, "role": "admin"}), user("anna")),
        ] {
            let mut claims = json!({"iss": "https://login.example", "aud": "coupons", "exp": 10_100, "sub": "anna"});
            let claims = claims.as_object_mut().unwrap();
            for (name, value) in changed.as_object().unwrap() {
                claims.remove(name);
                if !value.is_null() {
                    claims.insert(name.clone(), value.clone());
                }
            }
            let judged = judge(claims, &settings(), now).map(|holder| holder.user.as_str().to_owned());
            assert_eq!(judged, expected, "{changed}");
        }
    }

    #[test]
    fn another_claim_may_name_the_user() {
        let claims =
            json!({"iss": "https://login.example", "aud": "coupons", "exp": 10_100, "sub": "x", "customer": 7});
        let settings = TokenSettings { claim: "customer".to_owned(), ..settings() };
        let holder = judge(claims.as_object().unwrap(), &settings, 10_000).unwrap();
        assert_eq!((holder.user.as_str(), holder.expires), ("7", 10_100));
    }
}
