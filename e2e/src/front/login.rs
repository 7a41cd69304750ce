//! What a shop has beside a campaign: a service that knows whose a session is, and a provider's server with a certificate.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use stack::services::Certificate;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::gateway::Gateway;

/// What the answer names the user in; nginx' example reads it from there.
const USER: HeaderName = HeaderName::from_static("x-user-id");

/// Users by their sessions.
type Known = Arc<Mutex<HashMap<String, String>>>;

/// A service that knows whose a session is, as nginx asks it.
pub struct Sessions {
    /// Where it listens.
    pub address: SocketAddr,
    known: Known,
    serving: JoinHandle<()>,
}

impl Sessions {
    /// One at this address of the machine.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(ip: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await.context("the service of sessions cannot listen")?;
        let (address, known) = (listener.local_addr()?, Known::default());
        let router = Router::new().route("/user", get(user)).with_state(Arc::clone(&known));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the service of sessions has ended: {error}");
            }
        });
        Ok(Self { address, known, serving })
    }

    /// Begins a session of this user, and returns the cookie.
    pub fn log_in(&self, user: &str) -> String {
        let session = format!("{:032x}", rand::random::<u128>());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone(), user.to_owned());
        format!("session={session}")
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Whose the one session is that the request has.
async fn user(State(known): State<Known>, headers: HeaderMap) -> Response {
    let mut sessions = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix("session="));
    let (session, more) = (sessions.next(), sessions.next());
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    match session.filter(|_| more.is_none()).and_then(|session| known.get(session)) {
        Some(user) => (StatusCode::OK, [(USER, user.clone())]).into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// A provider's server as Envoy's example has it: `login.example.com`, with a certificate of that name, and its keys at the example's path.
pub struct LoginServer {
    /// Where it listens, for TLS.
    pub address: SocketAddr,
    certificate: Certificate,
    _server: Gateway,
}

impl LoginServer {
    /// One in front of the keys at this URL.
    ///
    /// # Errors
    /// The certificate cannot be made, or nginx does not come up.
    pub async fn start(address: SocketAddr, keys: &str) -> Result<Self> {
        let certificate = tokio::task::spawn_blocking(|| Certificate::naming("DNS:login.example.com")).await??;
        let (chain, key) = (certificate.chain(), certificate.key());
        let config = format!(
            "pid {pid};\nerror_log stderr warn;\nevents {{}}\nhttp {{\n  access_log off;\n  server {{\n    listen {address} ssl;\n    \
             server_name login.example.com;\n    ssl_certificate {chain};\n    ssl_certificate_key {key};\n    \
             location = /realms/shop/protocol/openid-connect/certs {{ proxy_pass {keys}; }}\n  }}\n}}\n",
            pid = chain.with_extension("pid").display(),
            chain = chain.display(),
            key = key.display(),
        );
        let server = Gateway::nginx_of("login", address, &config).await?;
        Ok(Self { address, certificate, _server: server })
    }

    /// The file of the authority that has signed its certificate.
    pub fn authority(&self) -> String {
        self.certificate.authority_file().display().to_string()
    }
}
