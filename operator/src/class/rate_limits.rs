//! What a class says of how often users may ask: for issuers.

use std::num::NonZeroU32;

use coupon_core::contract::rate_limits::HEADER_VALUES_FILE;
use coupon_core::contract::{HeaderValues, Rate, RateLimits, RequiredHeader};
use kube::{Client, ResourceExt};

use super::authentication::IssuerFiles;
use super::error::ClassError;
use super::secrets::Secrets;
use crate::api::{self, CampaignClass};

/// Reads what the Secret of a class holds about its gateway.
pub async fn header_files(
    client: &Client,
    class: &CampaignClass,
    own_namespace: &str,
) -> Result<IssuerFiles, ClassError> {
    let setting = &class.spec.rate_limits;
    // Checked here, as nobody comes past it: an object of before a rule may break it.
    if for_issuers(setting, "").is_none() {
        return Err(ClassError::RateLimitsUnusable(class.name_any()));
    }
    let mut files = IssuerFiles::new();
    let reference = setting.required_header.as_ref().and_then(|header| header.value_secret_ref.as_ref());
    if let Some(reference) = reference {
        let values = Secrets::new(client, class, own_namespace).header_values(reference).await?;
        files.insert(HEADER_VALUES_FILE, values);
    }
    Ok(files)
}

/// What issuers of a class are told; `None` where it cannot be meant so. `folder`: where they find their files.
pub(crate) fn for_issuers(setting: &api::RateLimits, folder: &str) -> Option<RateLimits> {
    let proxies = setting.trusted_proxies.iter().map(|network| network.parse().ok());
    Some(RateLimits {
        per_user: optional(setting.per_user, rate)?,
        per_address: optional(setting.per_address, rate)?,
        per_pod: optional(setting.per_pod, rate)?,
        trusted_proxies: proxies.collect::<Option<_>>()?,
        required_header: optional(setting.required_header.as_ref(), |header| required(header, folder))?,
    })
}

/// What is not set is fine, and what is set must be usable.
fn optional<T, U>(setting: Option<T>, usable: impl FnOnce(T) -> Option<U>) -> Option<Option<U>> {
    match setting {
        Some(setting) => usable(setting).map(Some),
        None => Some(None),
    }
}

fn rate(limit: api::RateLimit) -> Option<Rate> {
    let api::RateLimit { requests, per_seconds, burst } = limit;
    Some(Rate {
        requests: NonZeroU32::new(requests)?,
        per_seconds: NonZeroU32::new(per_seconds)?,
        burst: NonZeroU32::new(burst)?,
    })
}

fn required(header: &api::RequiredHeader, folder: &str) -> Option<RequiredHeader> {
    let values = match (&header.values, &header.value_secret_ref) {
        (Some(values), None) => HeaderValues::Listed(values.clone()),
        (None, Some(_)) => HeaderValues::File { path: format!("{folder}/{HEADER_VALUES_FILE}") },
        (Some(_), Some(_)) | (None, None) => return None,
    };
    Some(RequiredHeader { name: header.name.to_lowercase(), values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ConditionType;
    use serde_json::{Value, json};

    fn class(rate_limits: Value) -> CampaignClass {
        let mut class = crate::fixtures::class();
        class.spec.rate_limits = serde_json::from_value(rate_limits).unwrap();
        class
    }

    fn of_secret() -> Value {
        json!({"requiredHeader": {"name": "X-Gateway", "valueSecretRef": {"name": "gateway"}}})
    }

    #[test]
    fn issuers_are_told_what_the_class_says() {
        let told = |setting| for_issuers(&class(setting).spec.rate_limits, "/etc/coupon").unwrap().to_string();
        let rate = json!({"requests": 1, "burst": 5});
        for (setting, expected) in [
            (json!({}), "{}"),
            (json!({"perUser": rate}), r#"{"perUser":{"requests":1,"perSeconds":1,"burst":5}}"#),
            (
                json!({"perAddress": {"requests": 9, "perSeconds": 10, "burst": 90}, "trustedProxies": ["10.0.0.0/8", "fd00::/8"]}),
                r#"{"perAddress":{"requests":9,"perSeconds":10,"burst":90},"trustedProxies":["10.0.0.0/8","fd00::/8"]}"#,
            ),
            (json!({"perPod": rate}), r#"{"perPod":{"requests":1,"perSeconds":1,"burst":5}}"#),
            (
                json!({"requiredHeader": {"name": "X-Bot-Check", "values": ["passed"]}}),
                r#"{"requiredHeader":{"name":"x-bot-check","values":{"listed":["passed"]}}}"#,
            ),
            (
                of_secret(),
                r#"{"requiredHeader":{"name":"x-gateway","values":{"file":{"path":"/etc/coupon/required-header-values"}}}}"#,
            ),
        ] {
            assert_eq!(told(setting), expected);
        }
    }

    /// Wrong: a class that cannot be meant so gets issuers that end at their start, or that limit nobody.
    #[tokio::test]
    async fn what_cannot_be_meant_so_is_refused() {
        for wrong in [
            json!({"perUser": {"requests": 0, "burst": 5}}),
            json!({"perPod": {"requests": 1, "perSeconds": 0, "burst": 5}}),
            json!({"perAddress": {"requests": 1, "burst": 0}}),
            json!({"trustedProxies": ["10.0.0.0"]}),
            json!({"trustedProxies": ["10.0.0.0/8", "0.0.0.0/0"]}),
            json!({"requiredHeader": {"name": "X-Gateway"}}),
            json!({"requiredHeader": {"name": "X-Gateway", "values": ["a"], "valueSecretRef": {"name": "b"}}}),
        ] {
            let class = class(wrong.clone());
            assert_eq!(for_issuers(&class.spec.rate_limits, ""), None, "{wrong}");
            let client = crate::class::connections::tests::with_bytes(&[]);
            let error = header_files(&client, &class, "coupon-system").await.unwrap_err();
            assert_eq!(
                (error.reason(), error.condition()),
                ("RateLimitsUnusable", ConditionType::ClassResolved),
                "{wrong}"
            );
        }
    }

    /// Wrong: a Secret that holds nothing usable goes to the pods, and they do not start; or what it holds is shown.
    #[tokio::test]
    async fn values_of_a_header_are_read_or_named() {
        let read = async |value: &[u8], setting: Value| {
            let client = crate::class::connections::tests::with_bytes(&[("value", value.to_vec())]);
            header_files(&client, &class(setting), "coupon-system").await
        };
        let (one, two) = ("open-sesame-0123", "open-sesame-4567\n\nopen-sesame-0123\n");
        assert_eq!(read(one.as_bytes(), json!({})).await.unwrap(), IssuerFiles::new());
        for good in [one, two] {
            let expected = IssuerFiles::from([(HEADER_VALUES_FILE, good.to_owned())]);
            assert_eq!(read(good.as_bytes(), of_secret()).await.unwrap(), expected);
        }
        let (long, many) = ("x".repeat(257), format!("{one}\n").repeat(9));
        for (value, reason) in [
            (&b""[..], "SecretHeaderValuesInvalid"),
            (b"\n", "SecretHeaderValuesInvalid"),
            (b"sesame", "SecretHeaderValuesInvalid"),
            (b"open sesame 0123", "SecretHeaderValuesInvalid"),
            (long.as_bytes(), "SecretHeaderValuesInvalid"),
            (many.as_bytes(), "SecretHeaderValuesInvalid"),
            (b"\xff", "SecretKeyMissing"),
        ] {
            let error = read(value, of_secret()).await.unwrap_err();
            assert_eq!(error.reason(), reason);
            let text = format!("{error} {error:?}");
            assert!(text.contains("value") && !text.contains("sesame") && text.len() < 500, "{text}");
            assert!(error.is_waited_for() && error.condition() == ConditionType::CredentialsReady);
        }
    }
}
