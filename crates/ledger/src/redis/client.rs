//! A connection to one Redis or Sentinel, at an address.

use std::time::Duration;

use coupon_core::connections::{Login, Redis};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};

use super::error::RedisError;

/// How long to wait for a connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Who is spoken to: Sentinels have logins of their own, and no databases.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role<'a> {
    /// A server that holds keys.
    Server,
    /// A Sentinel.
    Sentinel(&'a Login),
}

pub(super) async fn open(
    settings: &Redis,
    address: &str,
    response_timeout: Duration,
    role: Role<'_>,
) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(response_timeout));
    Ok(client(settings, address, role)?.get_multiplexed_async_connection_with_config(&config).await?)
}

/// A client of the Redis, or the Sentinel, at this address. Connects to nothing yet.
pub(super) fn client(settings: &Redis, address: &str, role: Role<'_>) -> Result<Client, RedisError> {
    let (host, port) = split(address)?;
    let target = if settings.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let (database, known) = match role {
        Role::Server => (settings.database, &settings.login),
        Role::Sentinel(login) => (0, login),
    };
    let mut login = RedisConnectionInfo::default().set_db(database);
    if !known.password.is_empty() {
        login = login.set_password(&known.password);
        if !known.username.is_empty() {
            login = login.set_username(&known.username);
        }
    }
    // Nagle's algorithm is on by default in this library, and costs a third of the throughput on a real network.
    let info = target
        .into_connection_info()?
        .set_redis_settings(login)
        .set_tcp_settings(TcpSettings::default().set_nodelay(true));
    Ok(match &settings.ca_pem {
        Some(pem) if settings.tls => Client::build_with_tls(
            info,
            TlsCertificates { client_tls: None, root_cert: Some(pem.as_str().as_bytes().to_vec()) },
        )?,
        _ => Client::open(info)?,
    })
}

fn split(address: &str) -> Result<(String, u16), RedisError> {
    address
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?)))
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| RedisError::Settings(format!("`{address}` is not host:port")))
}
