//! Reads the Secrets that a class names: logins, certificates of authorities, and keys of tokens.

use std::collections::BTreeMap;

use coupon_core::connections::{CaPem, Login};
use coupon_core::contract::rate_limits::{
    MAX_HEADER_VALUE, MAX_HEADER_VALUES, MAX_HEADER_VALUES_BYTES, MIN_HEADER_SECRET,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};

use super::error::ClassError;
use super::key_set;
use crate::api::{CaSecretRef, CampaignClass, KeysSecretRef, ValueSecretRef, secret_keys};

/// What a Secret holds, by key.
type Values = BTreeMap<String, ByteString>;

/// One set of logins, of the operator or of the pods.
pub(super) struct Logins {
    pub(super) kafka: Login,
    pub(super) redis: Login,
    pub(super) sentinel: Login,
    pub(super) database: Login,
}

/// The Secrets of one class.
pub(super) struct Secrets<'a> {
    api: Api<Secret>,
    namespace: &'a str,
    class: &'a CampaignClass,
}

impl<'a> Secrets<'a> {
    /// Reads nothing yet.
    pub(super) fn new(client: &Client, class: &'a CampaignClass, own_namespace: &'a str) -> Self {
        let namespace = class.spec.credentials.namespace.as_deref().unwrap_or(own_namespace);
        Self { api: Api::namespaced(client.clone(), namespace), namespace, class }
    }

    async fn read(&self, name: &str) -> Result<Values, ClassError> {
        let secret = self.api.get_opt(name).await?.ok_or_else(|| ClassError::SecretMissing {
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
            class: self.class.name_any(),
        })?;
        Ok(secret.data.unwrap_or_default())
    }

    /// Takes the text of one key out of a Secret's values; `None` where it has no such key. What else the Secret holds, such as a keystore beside a
    /// certificate, is nobody's business here.
    fn text(&self, values: &mut Values, name: &str, key: &str) -> Result<Option<String>, ClassError> {
        let Some(value) = values.remove(key) else { return Ok(None) };
        String::from_utf8(value.0).map(Some).map_err(|_| self.unusable(name, key))
    }

    fn unusable(&self, name: &str, key: &str) -> ClassError {
        ClassError::SecretKey { namespace: self.namespace.to_owned(), name: name.to_owned(), key: key.to_owned() }
    }

    /// The certificates that a class refers to, if it does.
    pub(super) async fn ca(&self, reference: Option<&CaSecretRef>) -> Result<Option<CaPem>, ClassError> {
        let Some(reference) = reference else { return Ok(None) };
        let mut values = self.read(&reference.name).await?;
        let (name, key) = (&reference.name, &reference.key);
        let text = self.text(&mut values, name, key)?.ok_or_else(|| self.unusable(name, key))?;
        // Clients take what is no certificate for none at all, and say later that the issuer is unknown; or repeat it.
        let pem = CaPem::new(text).map_err(|fault| ClassError::SecretCertificate {
            namespace: self.namespace.to_owned(),
            name: name.clone(),
            key: key.clone(),
            fault,
        })?;
        Ok(Some(pem))
    }

    /// The keys of tokens that a class refers to.
    pub(super) async fn key_set(&self, reference: &KeysSecretRef) -> Result<String, ClassError> {
        let (name, key) = (&reference.name, &reference.key);
        let mut values = self.read(name).await?;
        let text = self.text(&mut values, name, key)?.ok_or_else(|| self.unusable(name, key))?;
        match key_set::check(&text) {
            Ok(()) => Ok(text),
            Err(fault) => Err(ClassError::SecretKeySet {
                namespace: self.namespace.to_owned(),
                name: name.clone(),
                key: key.clone(),
                fault,
            }),
        }
    }

    /// The values of a gateway's header that a class refers to, as issuers take them.
    pub(super) async fn header_values(&self, reference: &ValueSecretRef) -> Result<String, ClassError> {
        let (name, key) = (&reference.name, &reference.key);
        let mut values = self.read(name).await?;
        let text = self.text(&mut values, name, key)?.ok_or_else(|| self.unusable(name, key))?;
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        let is_value = |line: &str| {
            (MIN_HEADER_SECRET..=MAX_HEADER_VALUE).contains(&line.len())
                && line.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let are_values = text.len() <= MAX_HEADER_VALUES_BYTES
            && (1..=MAX_HEADER_VALUES).contains(&lines().count())
            && lines().all(is_value);
        if are_values {
            return Ok(text);
        }
        Err(ClassError::SecretHeaderValues {
            namespace: self.namespace.to_owned(),
            name: name.clone(),
            key: key.clone(),
        })
    }

    /// The logins in the Secret of this name.
    pub(super) async fn logins(&self, name: &str) -> Result<Logins, ClassError> {
        let mut values = self.read(name).await?;
        let mut value = |key: &str| match self.text(&mut values, name, key)?.unwrap_or_default() {
            value if value.trim() == value => Ok(value),
            _ => Err(ClassError::SecretWhitespace {
                namespace: self.namespace.to_owned(),
                name: name.to_owned(),
                key: key.to_owned(),
            }),
        };
        let mut login = |username: &str, password: &str| {
            Ok::<_, ClassError>(Login { username: value(username)?, password: value(password)? })
        };
        let kafka = login(secret_keys::KAFKA_USERNAME, secret_keys::KAFKA_PASSWORD)?;
        let redis = login(secret_keys::REDIS_USERNAME, secret_keys::REDIS_PASSWORD)?;
        let sentinel = login(secret_keys::SENTINEL_USERNAME, secret_keys::SENTINEL_PASSWORD)?;
        let database = login(secret_keys::DATABASE_USERNAME, secret_keys::DATABASE_PASSWORD)?;
        if database.username.is_empty() {
            return Err(self.unusable(name, secret_keys::DATABASE_USERNAME));
        }
        if self.class.spec.kafka.security.mechanism.is_some() && kafka.username.is_empty() {
            return Err(self.unusable(name, secret_keys::KAFKA_USERNAME));
        }
        Ok(Logins { kafka, redis, sentinel, database })
    }
}
