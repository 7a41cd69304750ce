//! Who asks: nobody is asked, a gateway says it, or a signed token does.
//!
//! [`token`], [`claims`] and [`header`] decide, from the request, the keys and the time alone; [`keys`] and [`source`] get the keys.

mod claims;
mod header;
mod key_set;
mod keys;
mod known_tokens;
mod refusal;
mod signature;
mod source;
mod token;

use anyhow::Context;
use axum::http::{HeaderMap, HeaderName};
use coupon_core::contract::{Authentication, AuthenticationKind, TokenSettings};
use coupon_core::identity::UserId;
use jiff::Timestamp;
use strum::VariantArray;
use tokio::time::Instant;

pub(crate) use self::keys::KeyReader;
use self::keys::{Keys, Trusted};
use self::known_tokens::fingerprint;
pub(crate) use self::refusal::{Kind, Refusal};
use self::token::{Verdict, bearer, judge};
use crate::log_throttle::LogThrottle;
use crate::metrics::{Metrics, ReadingLabel, RefusalLabel};

/// Knows who asks.
#[derive(Debug)]
pub(crate) struct Authenticator {
    way: Way,
    metrics: Metrics,
    log: LogThrottle,
}

#[derive(Debug)]
enum Way {
    None,
    Header(HeaderName),
    Token(Box<Tokens>),
}

#[derive(Debug)]
struct Tokens {
    settings: TokenSettings,
    keys: Keys,
}

impl Authenticator {
    /// With tokens there is a reader of keys, which somebody has to run.
    ///
    /// # Errors
    /// The name of the header, or the URL of the keys, cannot be one.
    pub(crate) fn new(setting: &Authentication, metrics: Metrics) -> anyhow::Result<(Self, Option<KeyReader>)> {
        let (way, reader) = match setting {
            Authentication::None => (Way::None, None),
            Authentication::Header { name } => {
                let name =
                    name.parse::<HeaderName>().with_context(|| format!("`{name}` cannot be the name of a header"))?;
                (Way::Header(name), None)
            }
            Authentication::Jwt(settings) => {
                let (keys, reader) = Keys::new(settings, metrics.clone())?;
                (Way::Token(Box::new(Tokens { settings: settings.clone(), keys })), Some(reader))
            }
        };
        // They exist from the start: a series that is born with its first event has no rate.
        for refusal in Refusal::VARIANTS {
            drop(metrics.unauthenticated.get_or_create(&RefusalLabel { reason: refusal.as_str() }));
        }
        for result in [keys::READ, keys::FAILED] {
            drop(metrics.key_readings.get_or_create(&ReadingLabel { result }));
        }
        Ok((Self { way, metrics, log: LogThrottle::default() }, reader))
    }

    /// Who asks; `None` where nobody is asked who they are.
    pub(crate) async fn user(&self, headers: &HeaderMap) -> Result<Option<UserId>, Refusal> {
        let found = match &self.way {
            Way::None => return Ok(None),
            Way::Header(name) => header::user(headers, name),
            Way::Token(tokens) => tokens.user(headers).await,
        };
        found.map(Some).inspect_err(|refusal| self.note(*refusal))
    }

    /// Which way it is.
    pub(crate) fn kind(&self) -> AuthenticationKind {
        match &self.way {
            Way::None => AuthenticationKind::None,
            Way::Header(_) => AuthenticationKind::Header,
            Way::Token(_) => AuthenticationKind::Jwt,
        }
    }

    /// Why nobody can be authenticated yet, if nobody can.
    pub(crate) fn why_not_ready(&self) -> Option<String> {
        let Way::Token(tokens) = &self.way else { return None };
        tokens.keys.why_none().map(|why| format!("the keys of tokens are not known yet: {why}"))
    }

    fn note(&self, refusal: Refusal) {
        let reason = refusal.as_str();
        self.metrics.unauthenticated.get_or_create(&RefusalLabel { reason }).inc();
        // Clients without a token come all the time, as every page that is looked at before a login.
        if refusal != Refusal::Missing && self.log.should_log(reason, Instant::now()) {
            tracing::info!(reason, "a request is of nobody who is known");
        }
    }
}

impl Tokens {
    async fn user(&self, headers: &HeaderMap) -> Result<UserId, Refusal> {
        let token = bearer(headers)?;
        let now = Timestamp::now().as_second();
        let trusted = self.keys.known().ok_or(Refusal::NoKeys)?;
        if let Some(known) = self.check(token, &trusted, now)? {
            return Ok(known);
        }
        let trusted = self.keys.read_anew().await?;
        self.check(token, &trusted, now)?.ok_or(Refusal::KeyUnknown)
    }

    /// Whose token it is; `None`: it names a key that is not among these.
    fn check(&self, token: &str, trusted: &Trusted, now: i64) -> Result<Option<UserId>, Refusal> {
        let fingerprint = fingerprint(token);
        if let Some(user) = trusted.known.user(&fingerprint, now) {
            return Ok(Some(user));
        }
        match judge(token, &self.settings, &trusted.set, now) {
            Verdict::Good(holder) => {
                trusted.known.remember(fingerprint, &holder.user, holder.expires, now);
                Ok(Some(holder.user))
            }
            Verdict::Bad(refusal) => Err(refusal),
            Verdict::UnknownKey => Ok(None),
        }
    }
}

#[cfg(test)]
mod cost;
