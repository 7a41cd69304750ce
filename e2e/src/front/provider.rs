//! Who signs the tokens of the people: a provider whose key changes in the middle of the sale.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use coupon_testing::tokens::{KeyServer, Signer, claims};
use serde_json::{Value, json};

/// `iss` of its tokens: as the examples have it.
pub const ISSUER: &str = "https://login.example.com/realms/shop";

/// A provider: it publishes keys over HTTP, and signs with the newest.
pub struct Provider {
    server: KeyServer,
    keys: RwLock<Keys>,
}

struct Keys {
    current: Arc<Signer>,
    /// Published still, as tokens that it signed are about.
    old: Option<Arc<Signer>>,
    /// How many there were.
    count: usize,
}

impl Provider {
    /// One that publishes at this address of the machine.
    pub async fn start(ip: IpAddr) -> Self {
        let first = Arc::new(Signer::p256("key-1"));
        let server = KeyServer::start_at(ip, &[&first]).await;
        Self { server, keys: RwLock::new(Keys { current: first, old: None, count: 1 }) }
    }

    /// Where the keys are.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What a good token of this user says.
    pub fn claims(user: &str) -> Value {
        let mut claims = claims(user);
        claims["iss"] = json!(ISSUER);
        claims
    }

    /// A good token of this user, by the newest key.
    pub fn token(&self, user: &str) -> String {
        self.signer().sign(&Self::claims(user))
    }

    /// The newest key.
    pub fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner).current)
    }

    /// Publishes another key beside the present one, and signs with it from now on.
    pub fn rotate(&self) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.count += 1;
        let next = Arc::new(Signer::p256(&format!("key-{}", keys.count)));
        self.server.publish(&[&next, &keys.current]);
        keys.old = Some(std::mem::replace(&mut keys.current, next));
    }

    /// Takes the key of before away, and returns it.
    ///
    /// # Errors
    /// There is none.
    pub fn retire(&self) -> Result<Arc<Signer>> {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let old = keys.old.take().context("there is no key of before")?;
        self.server.publish(&[&keys.current]);
        Ok(old)
    }
}
