//! What Sentinels know: where the primary is, and when it becomes another one.

use std::time::Duration;

use coupon_core::connections::{Login, Redis, RedisServer};
use futures::StreamExt;
use redis::aio::MultiplexedConnection;

use super::client::{CONNECT_TIMEOUT, Role, client, open};
use super::error::RedisError;

/// How long a Sentinel may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before the next Sentinel is asked when one was lost.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a silent subscription is checked: the Sentinel behind it may be gone without a word.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// What Sentinels announce: `<master> <old host> <old port> <new host> <new port>`.
const SWITCHED: &str = "+switch-master";

/// Asks one Sentinel after the other where the primary is.
pub(super) async fn primary(
    settings: &Redis,
    master_name: &str,
    nodes: &[String],
    login: &Login,
) -> Result<String, RedisError> {
    let mut last = String::from("no Sentinel is configured");
    let mut refused = None;
    for node in nodes {
        match ask(settings, master_name, node, login).await {
            Ok(Some(address)) => return Ok(address),
            Ok(None) => last = format!("{node} does not watch `{master_name}`"),
            Err(error) if error.is_authentication() || error.is_missing_right() => {
                refused = Some(RedisError::SentinelLogin { node: node.clone(), said: error.to_string() });
            }
            Err(error) => last = format!("{node}: {error}"),
        }
    }
    Err(refused.unwrap_or_else(|| RedisError::NoPrimary { master: master_name.to_owned(), last }))
}

async fn ask(settings: &Redis, master_name: &str, node: &str, login: &Login) -> Result<Option<String>, RedisError> {
    let mut sentinel: MultiplexedConnection = open(settings, node, ANSWER_TIMEOUT, Role::Sentinel(login)).await?;
    let found: Option<(String, u16)> =
        redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master_name).query_async(&mut sentinel).await?;
    Ok(found.map(|(host, port)| format!("{host}:{port}")))
}

/// Calls `switched` whenever the Sentinels have another primary, so that nobody goes on talking to the old one, which may
/// answer for a while. Never ends; does nothing for a Redis without Sentinels.
pub async fn watch(settings: Redis, switched: impl Fn() + Send) {
    let RedisServer::Sentinel { master_name, nodes, login } = &settings.server else {
        return std::future::pending().await;
    };
    let mut known: Option<String> = None;
    let mut turn = 0;
    loop {
        if let Some(node) = nodes.get(turn % nodes.len().max(1))
            && let Err(error) = follow(&settings, Watched { master_name, node, login }, &mut known, &switched).await
        {
            tracing::debug!(node, %error, "a Sentinel is lost; following another");
        }
        turn += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// One Sentinel, and what it is asked about.
#[derive(Clone, Copy)]
struct Watched<'a> {
    master_name: &'a str,
    node: &'a str,
    login: &'a Login,
}

/// Follows one Sentinel until it is lost.
async fn follow(
    settings: &Redis,
    Watched { master_name, node, login }: Watched<'_>,
    known: &mut Option<String>,
    switched: &(impl Fn() + Send),
) -> Result<(), RedisError> {
    let connecting =
        async { Ok::<_, RedisError>(client(settings, node, Role::Sentinel(login))?.get_async_pubsub().await?) };
    let timed_out = |_| RedisError::Timeout(CONNECT_TIMEOUT.as_millis());
    let mut subscription = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(timed_out)??;
    tokio::time::timeout(ANSWER_TIMEOUT, subscription.subscribe(SWITCHED)).await.map_err(timed_out)??;
    let mut messages = subscription.on_message();
    let mut learn = |address: Option<String>| {
        // A switch between two subscriptions shows in the address.
        if address.is_some() && known.as_ref().is_some_and(|before| Some(before) != address.as_ref()) {
            tracing::info!(primary = address, "the Sentinels have another primary");
            switched();
        }
        *known = address.or_else(|| known.take());
    };
    loop {
        learn(ask(settings, master_name, node, login).await?);
        match tokio::time::timeout(CHECK_EVERY, messages.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(message)) => {
                let text: String = message.get_payload()?;
                if let Some(address) = new_primary(&text, master_name) {
                    learn(Some(address));
                }
            }
            Err(_) => {}
        }
    }
}

fn new_primary(announcement: &str, master_name: &str) -> Option<String> {
    match announcement.split(' ').collect::<Vec<_>>().as_slice() {
        [name, _, _, host, port] if *name == master_name => Some(format!("{host}:{port}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_master_counts() {
        let text = "coupons 10.0.0.1 6379 10.0.0.2 6380";
        assert_eq!(new_primary(text, "coupons").as_deref(), Some("10.0.0.2:6380"));
        assert_eq!(new_primary(text, "other"), None);
        assert_eq!(new_primary("coupons 10.0.0.1", "coupons"), None);
    }
}
