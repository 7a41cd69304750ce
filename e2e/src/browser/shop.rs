//! A shop with the page of `examples/browser`: its files as they are but for the address of the sale, and a session of its own in place of the file.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::front::gateway::changed;

/// Where the page has the sale.
const SALE: &str = "first-hundred";
/// Where the page has the way to it.
const WAY: &str = "http://localhost:8080";

/// Tokens by user: what is asked for one gets the next, and the last again and again.
type Tokens = Mutex<HashMap<String, VecDeque<String>>>;

struct Shown {
    index: String,
    policy: String,
    tokens: Tokens,
}

/// A shop that is open; closed when dropped.
pub struct Shop {
    /// What browsers call its origin.
    pub origin: String,
    shown: Arc<Shown>,
    serving: JoinHandle<()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn file(name: &str) -> Result<String> {
    let path = format!("{}/../examples/browser/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

/// The page's own policy, and what can be said by a header only.
fn policy(index: &str) -> Result<String> {
    let (_, rest) =
        index.split_once(r#"http-equiv="Content-Security-Policy" content=""#).context("the page has no policy")?;
    let own = rest.split('"').next().unwrap_or_default();
    Ok(format!("{own}; frame-ancestors 'none'"))
}

impl Shop {
    /// One at this port, for this sale of the issuers at `way`.
    ///
    /// # Errors
    /// The page says something else than before, or the port is taken.
    pub async fn open(port: u16, way: SocketAddr, sale: &str) -> Result<Self> {
        let index = changed(&file("index.html")?, &[(WAY, format!("http://{way}")), (SALE, sale.to_owned())])?;
        let shown = Arc::new(Shown { policy: policy(&index)?, index, tokens: Tokens::default() });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("the shop cannot listen")?;
        let router = Router::new()
            .route("/", get(index_page))
            .route("/{file}", get(other_file))
            .route("/session.json", get(session))
            .route("/log-in/{user}", get(log_in))
            .with_state(Arc::clone(&shown));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the shop has ended: {error}");
            }
        });
        Ok(Self { origin: format!("http://localhost:{port}"), shown, serving })
    }

    /// Gives a user these tokens, one after the other, and returns where that user logs in.
    pub fn door(&self, user: &str, tokens: impl IntoIterator<Item = String>) -> String {
        let mut all = self.shown.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(user.to_owned(), tokens.into_iter().collect());
        format!("{}/log-in/{user}", self.origin)
    }
}

async fn index_page(State(shown): State<Arc<Shown>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, shown.policy.clone()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, shown.index.clone()).into_response()
}

async fn other_file(Path(name): Path<String>) -> Response {
    let kind = match name.as_str() {
        "coupon.js" | "page.js" => "text/javascript; charset=utf-8",
        "style.css" => "text/css; charset=utf-8",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    match file(&name) {
        Ok(text) => ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

async fn log_in(Path(user): Path<String>) -> Response {
    let cookie = format!("shop={user}; Path=/; HttpOnly; SameSite=Strict");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

async fn session(State(shown): State<Arc<Shown>>, headers: HeaderMap) -> Response {
    let cookie = headers.get(header::COOKIE).and_then(|value| value.to_str().ok());
    let Some(user) = cookie.and_then(|value| value.strip_prefix("shop=")) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let mut all = shown.tokens.lock().unwrap_or_else(PoisonError::into_inner);
    let tokens = all.entry(user.to_owned()).or_default();
    let token = if tokens.len() > 1 { tokens.pop_front() } else { tokens.front().cloned() };
    ([(header::CACHE_CONTROL, "no-store")], Json(json!({"user": user, "token": token}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: the page loses what this stands on, or its policy lets other scripts in, and only the demo finds out.
    #[test]
    fn the_page_has_the_address_that_is_changed_in_two_places_and_a_strict_policy() {
        let index = file("index.html").unwrap();
        assert_eq!(index.matches(WAY).count(), 2, "the policy and the address");
        assert_eq!(index.matches(SALE).count(), 1);
        let policy = policy(&index).unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; ") && !policy.contains("unsafe"),
            "{policy}"
        );
        for inline in ["<style", "style=\"", "onclick", "<script>"] {
            assert!(!index.contains(inline), "{inline}: the policy forbids it");
        }
    }
}
