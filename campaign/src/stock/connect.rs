//! Connects to the Redis primary. A connection is never repaired behind the caller's back: when it breaks, the caller asks
//! for a new one and knows that the history may have changed.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};

use super::error::StockError;
use crate::settings::{Redis, RedisServer};

/// How long to wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens one connection to the primary. Each call on it fails after `response_timeout`.
pub async fn connect(settings: &Redis, response_timeout: Duration) -> Result<MultiplexedConnection, StockError> {
    match &settings.server {
        RedisServer::Address(address) => open(settings, address, response_timeout, true).await,
        RedisServer::Sentinel { master_name, nodes } => {
            let address = primary(settings, master_name, nodes, response_timeout).await?;
            let mut connection = open(settings, &address, response_timeout, true).await?;
            // A Sentinel may still name the old primary, which is a replica by now.
            let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
            match role.first() {
                Some(redis::Value::BulkString(role)) if role == b"master" => Ok(connection),
                _ => Err(StockError::NoPrimary {
                    master: master_name.clone(),
                    last: format!("{address} is not a primary (any more)"),
                }),
            }
        }
    }
}

/// Asks one Sentinel after the other where the primary is.
async fn primary(
    settings: &Redis,
    master_name: &str,
    nodes: &[String],
    timeout: Duration,
) -> Result<String, StockError> {
    let mut last = String::from("no Sentinel is configured");
    for node in nodes {
        let answer = async {
            let mut sentinel = open(settings, node, timeout, false).await?;
            let found: Option<(String, u16)> = redis::cmd("SENTINEL")
                .arg("GET-MASTER-ADDR-BY-NAME")
                .arg(master_name)
                .query_async(&mut sentinel)
                .await?;
            Ok::<_, StockError>(found)
        };
        match answer.await {
            Ok(Some((host, port))) => return Ok(format!("{host}:{port}")),
            Ok(None) => last = format!("{node} does not watch `{master_name}`"),
            Err(error) => last = format!("{node}: {error}"),
        }
    }
    Err(StockError::NoPrimary { master: master_name.to_owned(), last })
}

async fn open(
    settings: &Redis,
    address: &str,
    response_timeout: Duration,
    with_login: bool,
) -> Result<MultiplexedConnection, StockError> {
    let (host, port) = split(address)?;
    let target = if settings.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut login = RedisConnectionInfo::default().set_db(if with_login { settings.database } else { 0 });
    if with_login && !settings.login.password.is_empty() {
        login = login.set_password(&settings.login.password);
        if !settings.login.username.is_empty() {
            login = login.set_username(&settings.login.username);
        }
    }
    // Nagle's algorithm is on by default in this library, and costs a third of the throughput on a real network.
    let info = target
        .into_connection_info()?
        .set_redis_settings(login)
        .set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let client = match &settings.ca_pem {
        Some(pem) if settings.tls => Client::build_with_tls(
            info,
            TlsCertificates { client_tls: None, root_cert: Some(pem.clone().into_bytes()) },
        )?,
        _ => Client::open(info)?,
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(response_timeout));
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

fn split(address: &str) -> Result<(String, u16), StockError> {
    address
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?)))
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| StockError::Settings(format!("`{address}` is not host:port")))
}
