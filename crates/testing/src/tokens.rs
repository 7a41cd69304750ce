//! Tokens as a provider signs them, good ones and others, and a server that publishes its keys.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A key of RSA that signs nothing but these tokens; `ring` makes none.
const RSA: &[u8] = include_bytes!("tokens/rsa.pk8");
/// `iss` of good tokens.
pub const ISSUER: &str = "https://login.example";
/// `aud` of good tokens.
pub const AUDIENCE: &str = "coupons";

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key of a provider.
pub struct Signer {
    kid: Option<String>,
    pair: Pair,
}

/// In base64url without padding, as all parts of a token are.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds of Unix time.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// What a good token of this user says.
pub fn claims(user: &str) -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now(), "exp": now() + 3_600 })
}

impl Signer {
    /// A new key on P-256.
    pub fn p256(kid: &str) -> Self {
        let (random, method) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(method, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(method, document.as_ref(), &random).unwrap();
        Self { kid: Some(kid.to_owned()), pair: Pair::P256(pair) }
    }

    /// A new key of Ed25519.
    pub fn ed25519(kid: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { kid: Some(kid.to_owned()), pair: Pair::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()) }
    }

    /// The key of RSA, which is always the same.
    pub fn rsa(kid: &str) -> Self {
        Self { kid: Some(kid.to_owned()), pair: Pair::Rsa(RsaKeyPair::from_pkcs8(RSA).unwrap()) }
    }

    /// The same without a name.
    pub fn unnamed(self) -> Self {
        Self { kid: None, ..self }
    }

    /// How it signs, unless told otherwise.
    pub fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// Its public half, as a provider publishes it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": base64url(public.n), "e": base64url(public.e) })
            }
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
            }
            Pair::Ed25519(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key()) }),
        };
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().into();
        if let Some(kid) = &self.kid {
            jwk["kid"] = kid.as_str().into();
        }
        jwk
    }

    /// The header of its tokens.
    pub fn head(&self) -> Value {
        let mut head = json!({ "typ": "JWT", "alg": self.algorithm() });
        if let Some(kid) = &self.kid {
            head["kid"] = kid.as_str().into();
        }
        head
    }

    /// A good token of this user.
    pub fn token(&self, user: &str) -> String {
        self.sign(&claims(user))
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.head(), claims)
    }

    /// A token with another header.
    pub fn sign_with(&self, head: &Value, claims: &Value) -> String {
        let message = unsigned(head, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let is_pss = head["alg"].as_str().is_some_and(|name| name.starts_with("PS"));
                let padding: &dyn ring::signature::RsaEncoding =
                    if is_pss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", base64url(signature))
    }
}

/// The first two parts of a token.
pub fn unsigned(head: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(head.to_string()), base64url(claims.to_string()))
}

/// A token signed by HMAC with this secret, under this name of a key.
pub fn sign_hmac(kid: &str, secret: &[u8], claims: &Value) -> String {
    let message = unsigned(&json!({ "typ": "JWT", "alg": "HS256", "kid": kid }), claims);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    format!("{message}.{}", base64url(ring::hmac::sign(&key, message.as_bytes())))
}

/// A set of the public halves of these keys.
pub fn key_set(signers: &[&Signer]) -> String {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// What a server of keys answers.
type Answer = (StatusCode, String);

/// A server that publishes keys, over HTTP on this machine.
pub struct KeyServer {
    address: std::net::SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicU64>,
    serving: Option<JoinHandle<()>>,
}

impl KeyServer {
    /// One that publishes these.
    pub async fn start(signers: &[&Signer]) -> Self {
        Self::start_at(std::net::Ipv4Addr::LOCALHOST.into(), signers).await
    }

    /// One at this address of the machine, so that others than the machine itself reach it.
    pub async fn start_at(ip: std::net::IpAddr, signers: &[&Signer]) -> Self {
        let answer = Arc::new(Mutex::new((StatusCode::OK, key_set(signers))));
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { address, answer, asked: Arc::default(), serving: None };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let (answer, asked) = (Arc::clone(&self.answer), Arc::clone(&self.asked));
        let respond = move || {
            asked.fetch_add(1, Ordering::SeqCst);
            let (status, body) = answer.lock().unwrap().clone();
            async move { (status, [(header::CONTENT_TYPE, "application/json")], body).into_response() }
        };
        let router = Router::new().route("/keys", get(respond));
        self.serving = Some(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
    }

    /// Where the keys are.
    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Publishes other keys.
    pub fn publish(&self, signers: &[&Signer]) {
        self.answer(200, &key_set(signers));
    }

    /// Answers this from now on.
    pub fn answer(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body.to_owned());
    }

    /// Is not there any more.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// Is there again, at the same address.
    pub async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}
