//! Addresses of a stack's servers, as URLs.

use anyhow::{Context, Result, ensure};
use stack::Connections;

/// User, password, host:port and path of a URL such as `redis://user:password@host:port/0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// User name, possibly empty.
    pub user: String,
    /// Password, possibly empty.
    pub password: String,
    /// `host:port`.
    pub address: String,
    /// What follows the slash.
    pub path: String,
}

impl Url {
    /// Takes the URL apart.
    pub fn parse(url: &str) -> Result<Self> {
        let (_, rest) = url.split_once("://").with_context(|| format!("{url} is no URL"))?;
        let (login, rest) = rest.split_once('@').unwrap_or(("", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        ensure!(!address.is_empty(), "{url} has no address");
        let owned = |text: &str| text.to_owned();
        Ok(Self { user: owned(user), password: owned(password), address: owned(address), path: owned(path) })
    }
}

/// How Redis is spoken to.
pub fn scheme(connections: &Connections) -> &'static str {
    if connections.authority.is_some() { "rediss" } else { "redis" }
}
