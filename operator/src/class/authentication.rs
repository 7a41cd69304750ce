//! What a class says of who asks: in words, and for issuers.

use std::collections::BTreeMap;

use coupon_core::contract::authentication::{CA_FILE, KEYS_FILE};
use coupon_core::contract::{Authentication, KeySource, TokenSettings};
use kube::{Client, ResourceExt};

use super::error::ClassError;
use super::secrets::Secrets;
use crate::api::conditions::Report;
use crate::api::{self, AuthenticationKind, CampaignClass, ConditionType, JwtAuthentication, TokenKeys};

/// Files that issuers read keys of tokens with, by the name that each has beside `connections.yaml`. They change while issuers run.
pub type KeyFiles = BTreeMap<&'static str, String>;

/// Reads what the Secrets of a class hold about keys of tokens.
pub async fn key_files(client: &Client, class: &CampaignClass, own_namespace: &str) -> Result<KeyFiles, ClassError> {
    // Checked here, as nobody comes past it: an object of before a rule may break it.
    if for_issuers(&class.spec.authentication, "").is_none() {
        return Err(ClassError::AuthenticationIncomplete(class.name_any()));
    }
    let mut files = KeyFiles::new();
    let Some(jwt) = &class.spec.authentication.jwt else { return Ok(files) };
    let secrets = Secrets::new(client, class, own_namespace);
    if let Some(pem) = secrets.ca(jwt.keys.ca_secret_ref.as_ref()).await? {
        files.insert(CA_FILE, pem.as_str().to_owned());
    }
    if let Some(reference) = &jwt.keys.secret_ref {
        files.insert(KEYS_FILE, secrets.key_set(reference).await?);
    }
    Ok(files)
}

/// How the issuers of a class know who asks; `None` where the class does not say it to the end. `folder`: where they find their files.
pub(crate) fn for_issuers(setting: &api::Authentication, folder: &str) -> Option<Authentication> {
    Some(match setting.kind {
        AuthenticationKind::None => Authentication::None,
        AuthenticationKind::Header => Authentication::Header { name: setting.header.as_ref()?.name.to_lowercase() },
        AuthenticationKind::Jwt => jwt(setting.jwt.as_ref()?, folder)?,
    })
}

fn jwt(jwt: &JwtAuthentication, folder: &str) -> Option<Authentication> {
    Some(Authentication::Jwt(TokenSettings {
        issuer: jwt.issuer.clone(),
        audiences: jwt.audiences.clone(),
        claim: jwt.claim.clone(),
        algorithms: jwt.algorithms.clone(),
        leeway_seconds: jwt.leeway_seconds.into(),
        keys: keys(&jwt.keys, folder)?,
    }))
}

fn keys(keys: &TokenKeys, folder: &str) -> Option<KeySource> {
    match (&keys.url, &keys.secret_ref) {
        (Some(url), None) => {
            let ca_file = keys.ca_secret_ref.as_ref().map(|_| format!("{folder}/{CA_FILE}"));
            Some(KeySource::Url { url: url.clone(), ca_file })
        }
        (None, Some(_)) => Some(KeySource::File { path: format!("{folder}/{KEYS_FILE}") }),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// That nobody is authenticated, unless it is known.
pub(crate) fn report(class: &CampaignClass) -> Option<Report> {
    let setting = &class.spec.authentication;
    let is_said = setting.kind != AuthenticationKind::None || setting.acknowledged;
    (!is_said).then(|| {
        let text = "issuers believe who asks: whoever reaches them gets coupons, and sees those of users, in anybody's name; set \
                    authentication.type to Jwt or Header, or, where only a backend that knows its users reaches them, \
                    authentication.acknowledged: true";
        Report::yes(ConditionType::Unauthenticated, "NobodyIsAsked", text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn class(authentication: Value) -> CampaignClass {
        let mut class = crate::fixtures::class();
        class.spec.authentication = serde_json::from_value(authentication).unwrap();
        class
    }

    fn jwt(keys: Value) -> Value {
        json!({"type": "Jwt", "jwt": {"issuer": "https://login.example", "audiences": ["coupons"], "keys": keys}})
    }

    /// Wrong: a class of before has to be changed, or one that authenticates nobody looks like one that does.
    #[test]
    fn a_class_that_authenticates_nobody_says_so_until_that_is_known() {
        let url = json!({"url": "https://login.example/keys"});
        for (authentication, says) in [
            (json!({}), true),
            (json!({"type": "None"}), true),
            (json!({"type": "None", "acknowledged": false}), true),
            (json!({"acknowledged": true}), false),
            (json!({"type": "Header", "header": {"name": "X-User-Id"}}), false),
            (jwt(url), false),
        ] {
            let report = report(&class(authentication.clone()));
            assert_eq!(report.as_ref().map(|report| report.status), says.then_some(Some(true)), "{authentication}");
            assert!(report.is_none_or(|report| report.message.contains("acknowledged: true")));
        }
    }

    /// Wrong: what a Secret holds instead of keys goes to the pods, and only a sale shows that no token can be checked.
    #[tokio::test]
    async fn keys_and_authorities_of_a_class_are_read_or_named() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n";
        let set = r#"{"keys":[{"kty":"EC"}]}"#;
        let data = |value: &[u8]| [("jwks.json", value.to_vec()), ("ca.crt", pem.into())];
        let read = async |value: &[u8], authentication: Value| {
            let client = crate::class::connections::tests::with_bytes(&data(value));
            key_files(&client, &class(authentication), "coupon-system").await
        };
        let of_secret = || jwt(json!({"secretRef": {"name": "keys"}}));
        let of_server = jwt(json!({"url": "https://login.example/keys", "caSecretRef": {"name": "ca"}}));
        assert_eq!(read(set.as_bytes(), json!({})).await.unwrap(), KeyFiles::new());
        assert_eq!(read(b"", of_server).await.unwrap(), KeyFiles::from([(CA_FILE, pem.to_owned())]));
        assert_eq!(read(set.as_bytes(), of_secret()).await.unwrap(), KeyFiles::from([(KEYS_FILE, set.to_owned())]));
        let long = format!(r#"{{"keys":["{}"]}}"#, "x".repeat(256 * 1024));
        for (value, reason) in [
            (&b"sesame"[..], "SecretKeySetInvalid"),
            (b"{}", "SecretKeySetInvalid"),
            (br#"{"keys":[]}"#, "SecretKeySetInvalid"),
            (br#"{"keys":{"a":1}}"#, "SecretKeySetInvalid"),
            (long.as_bytes(), "SecretKeySetInvalid"),
            (b"\xff", "SecretKeyMissing"),
        ] {
            let error = read(value, of_secret()).await.unwrap_err();
            assert_eq!(error.reason(), reason);
            let text = format!("{error} {error:?}");
            assert!(text.contains("jwks.json") && !text.contains("sesame") && text.len() < 500, "{text}");
            assert!(error.is_waited_for() && error.condition() == ConditionType::CredentialsReady);
        }
    }

    /// Wrong: a class that says how, and not by what, lets everybody in as anybody.
    #[tokio::test]
    async fn what_is_said_by_half_lets_in_nobody() {
        for incomplete in [
            json!({"type": "Header"}),
            json!({"type": "Jwt"}),
            json!({"type": "Jwt", "header": {"name": "X-User"}}),
            jwt(json!({})),
            jwt(json!({"url": "https://login.example/keys", "secretRef": {"name": "keys"}})),
        ] {
            let class = class(incomplete.clone());
            assert_eq!(for_issuers(&class.spec.authentication, ""), None, "{incomplete}");
            let client = crate::class::connections::tests::with_bytes(&[]);
            let error = key_files(&client, &class, "coupon-system").await.unwrap_err();
            assert_eq!(error.reason(), "AuthenticationIncomplete", "{incomplete}");
        }
    }

    #[test]
    fn issuers_are_told_what_the_class_says() {
        let told = |authentication| {
            for_issuers(&class(authentication).spec.authentication, "/etc/coupon").unwrap().to_string()
        };
        assert_eq!(told(json!({})), r#""none""#);
        assert_eq!(
            told(json!({"type": "Header", "header": {"name": "X-User-Id"}})),
            r#"{"header":{"name":"x-user-id"}}"#
        );
        let expected = |keys: &str| {
            format!(
                r#"{{"jwt":{{"issuer":"https://login.example","audiences":["coupons"],"claim":"sub","algorithms":["RS256","ES256"],"leewaySeconds":30,"keys":{keys}}}}}"#
            )
        };
        let url = "https://login.example/keys";
        for (keys, says) in [
            (json!({"url": url}), format!(r#"{{"url":{{"url":"{url}"}}}}"#)),
            (
                json!({"url": url, "caSecretRef": {"name": "ca"}}),
                format!(r#"{{"url":{{"url":"{url}","caFile":"/etc/coupon/token-keys-ca.crt"}}}}"#),
            ),
            (json!({"secretRef": {"name": "keys"}}), r#"{"file":{"path":"/etc/coupon/token-keys.json"}}"#.to_owned()),
        ] {
            assert_eq!(told(jwt(keys)), expected(&says));
        }
    }
}
