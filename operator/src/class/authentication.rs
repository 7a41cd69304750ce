//! What a class says of who asks: in words, and for issuers.

use std::collections::BTreeMap;
use std::sync::Arc;

use coupon_core::contract::authentication::{CA_FILE, KEYS_FILE};
use coupon_core::contract::{Authentication, KeySource, TokenSettings};
use kube::{Client, ResourceExt};

use super::admission::uses;
use super::error::ClassError;
use super::secrets::Secrets;
use crate::api::annotations::ROLLOUT_ANNOTATION;
use crate::api::conditions::Report;
use crate::api::{
    self, AuthenticationKind, CampaignClass, ConditionType, CouponCampaign, JwtAuthentication, TokenKeys,
};

/// Files that issuers read keys of tokens, and values of a gateway's header, with, by the name that each has beside `connections.yaml`. They change while
/// issuers run.
pub type IssuerFiles = BTreeMap<&'static str, String>;

/// Reads what the Secrets of a class hold about keys of tokens.
pub async fn key_files(client: &Client, class: &CampaignClass, own_namespace: &str) -> Result<IssuerFiles, ClassError> {
    // Checked here, as nobody comes past it: an object of before a rule may break it.
    if for_issuers(&class.spec.authentication, "").is_none() {
        return Err(ClassError::AuthenticationIncomplete(class.name_any()));
    }
    let mut files = IssuerFiles::new();
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
/// What contradicts itself is not to the end either.
pub(crate) fn for_issuers(setting: &api::Authentication, folder: &str) -> Option<Authentication> {
    match (setting.kind, &setting.header, &setting.jwt) {
        (AuthenticationKind::None, None, None) => Some(Authentication::None),
        (AuthenticationKind::Header, Some(header), None) => {
            Some(Authentication::Header { name: header.name.to_lowercase() })
        }
        (AuthenticationKind::Jwt, None, Some(tokens)) => jwt(tokens, folder),
        _ => None,
    }
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

/// Most campaigns that are named.
const MOST_NAMED: usize = 5;

/// That somebody may be believed who is nobody, unless it is known: by the class, or by pods of before it was changed.
pub(crate) fn report(class: &CampaignClass, all: &[Arc<CouponCampaign>]) -> Option<Report> {
    let setting = &class.spec.authentication;
    let yes = |reason, text: String| Some(Report::yes(ConditionType::Unauthenticated, reason, text));
    match setting.kind {
        AuthenticationKind::None if !setting.acknowledged => {
            let text = "issuers believe who asks: whoever reaches them gets coupons, and sees those of users, in anybody's name; set \
                        authentication.type to Jwt or Header, or, where only a backend that knows its users reaches them, \
                        authentication.acknowledged: true";
            yes("NobodyIsAsked", text.to_owned())
        }
        AuthenticationKind::None => None,
        AuthenticationKind::Header | AuthenticationKind::Jwt if !believing(class, all).is_empty() => {
            let (campaigns, annotation) = (listed(&believing(class, all)), ROLLOUT_ANNOTATION);
            let text = format!(
                "issuers of {campaigns} are of before authentication was set, and believe who asks, also those that start now, until the end of \
                 their windows: kubectl annotate couponcampaign NAME {annotation}=now replaces them at once"
            );
            yes("PodsStillBelieve", text)
        }
        AuthenticationKind::Header if !setting.acknowledged && !is_closed_to_users(class) => {
            let text = "whoever reaches issuers past the gateway is whom the header names: set networkPolicy.usersFrom to the gateway, or, where \
                        the network is closed in another way, authentication.acknowledged: true";
            yes("AnybodyIsGateway", text.to_owned())
        }
        AuthenticationKind::Header | AuthenticationKind::Jwt => None,
    }
}

/// Campaigns of this class whose issuers ask nobody who they are.
fn believing(class: &CampaignClass, all: &[Arc<CouponCampaign>]) -> Vec<String> {
    let believes = |each: &&Arc<CouponCampaign>| {
        let said = each.status.as_ref().and_then(|status| status.authentication);
        uses(each, class) && said == Some(AuthenticationKind::None)
    };
    let mut names: Vec<String> = all
        .iter()
        .filter(believes)
        .map(|each| format!("{}/{}", each.namespace().unwrap_or_default(), each.name_any()))
        .collect();
    names.sort();
    names
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST_NAMED);
    let named = names.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// Whether the class says from where users come.
fn is_closed_to_users(class: &CampaignClass) -> bool {
    class.spec.network_policy.as_ref().is_some_and(|access| access.users_from.is_some())
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
        let url = || jwt(json!({"url": "https://login.example/keys"}));
        let header = || json!({"type": "Header", "header": {"name": "X-User-Id"}});
        let known = |mut setting: Value| {
            setting["acknowledged"] = true.into();
            setting
        };
        for (authentication, closed, reason) in [
            (json!({}), false, Some("NobodyIsAsked")),
            (json!({}), true, Some("NobodyIsAsked")),
            (json!({"type": "None"}), false, Some("NobodyIsAsked")),
            (json!({"type": "None", "acknowledged": false}), false, Some("NobodyIsAsked")),
            (json!({"acknowledged": true}), false, None),
            (header(), false, Some("AnybodyIsGateway")),
            (header(), true, None),
            (known(header()), false, None),
            (url(), false, None),
        ] {
            let mut class = class(authentication.clone());
            class.spec.network_policy =
                closed.then(|| serde_json::from_value(json!({"usersFrom": [{"podSelector": {}}]})).unwrap());
            let report = report(&class, &[]);
            assert_eq!(report.as_ref().map(|report| report.reason), reason, "{authentication}");
            assert!(
                report.is_none_or(|report| {
                    report.status == Some(true) && report.message.contains("acknowledged: true")
                })
            );
        }
    }

    /// Wrong: a class says that users are authenticated while anybody is believed by pods that wait for the end of their window.
    #[test]
    fn pods_that_still_believe_who_asks_are_named() {
        let class = class(jwt(json!({"url": "https://login.example/keys"})));
        let campaign = |name: &str, of: &str, said: Option<AuthenticationKind>| {
            let mut campaign = crate::fixtures::campaign();
            campaign.metadata.name = Some(name.to_owned());
            campaign.spec.class_name = Some(of.to_owned());
            let status = api::CouponCampaignStatus { authentication: said, ..api::CouponCampaignStatus::default() };
            campaign.status = Some(status);
            Arc::new(campaign)
        };
        let ours = class.name_any();
        let none = Some(AuthenticationKind::None);
        let all = [
            campaign("b", &ours, none),
            campaign("a", &ours, none),
            campaign("new", &ours, Some(AuthenticationKind::Jwt)),
            campaign("later", &ours, None),
            campaign("elsewhere", "other", none),
        ];
        let report = report(&class, &all).unwrap();
        assert_eq!(report.reason, "PodsStillBelieve");
        assert!(report.message.starts_with("issuers of shop/a, shop/b are of before"), "{}", report.message);
        assert!(report.message.contains("coupon-operator.io/rollout=now"), "{}", report.message);
        assert_eq!(super::report(&class, &all[2..]), None);
        assert_eq!(listed(&["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned)), "a, b, c, d, e and 2 more");
    }

    /// Wrong: what a Secret holds instead of keys goes to the pods, and only a sale shows that no token can be checked.
    #[tokio::test]
    async fn keys_and_authorities_of_a_class_are_read_or_named() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n";
        let set = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}"#;
        let data = |value: &[u8]| [("jwks.json", value.to_vec()), ("ca.crt", pem.into())];
        let read = async |value: &[u8], authentication: Value| {
            let client = crate::class::connections::tests::with_bytes(&data(value));
            key_files(&client, &class(authentication), "coupon-system").await
        };
        let of_secret = || jwt(json!({"secretRef": {"name": "keys"}}));
        let of_server = jwt(json!({"url": "https://login.example/keys", "caSecretRef": {"name": "ca"}}));
        assert_eq!(read(set.as_bytes(), json!({})).await.unwrap(), IssuerFiles::new());
        assert_eq!(read(b"", of_server).await.unwrap(), IssuerFiles::from([(CA_FILE, pem.to_owned())]));
        assert_eq!(read(set.as_bytes(), of_secret()).await.unwrap(), IssuerFiles::from([(KEYS_FILE, set.to_owned())]));
        let long = format!(r#"{{"keys":["{}"]}}"#, "x".repeat(256 * 1024));
        for (value, reason) in [
            (&b"sesame"[..], "SecretKeySetInvalid"),
            (br#"{"keys":[{"kty":"oct","k":"sesame"}]}"#, "SecretKeySetInvalid"),
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
            json!({"type": "None", "header": {"name": "X-User"}}),
            json!({"jwt": jwt(json!({"url": "https://login.example/keys"}))["jwt"]}),
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
