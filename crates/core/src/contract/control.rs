//! The control protocol: HTTP with JSON bodies, from the operator to each issuer.

use serde::{Deserialize, Serialize};

/// Header of requests and responses: the version of the protocol that the sender speaks ([`crate::format::CONTROL`]).
pub const VERSION_HEADER: &str = "coupon-control-version";
/// Path of the request that raises an issuer's floor: `POST`, [`FenceRequest`], answered with [`FenceResponse`].
pub const FENCE_PATH: &str = "fence";
/// Path of the request for an issuer's load and state: `GET`, answered with [`Pressure`].
pub const PRESSURE_PATH: &str = "pressure";

/// Reasons for which an issuer grants nothing ([`Pressure::reason`]), as far as the operator acts on them. There are others.
pub mod reason {
    /// The open epoch was not read yet.
    pub const STARTING: &str = "Starting";
    /// The database cannot be read.
    pub const DATABASE_AWAY: &str = "DatabaseAway";
    /// The database has no row of the campaign.
    pub const UNKNOWN_CAMPAIGN: &str = "UnknownCampaign";
    /// Redis cannot be read.
    pub const REDIS_AWAY: &str = "RedisAway";
    /// Redis' answers make no sense. Nothing is granted before a newer epoch opens.
    pub const REDIS_KEYS_BROKEN: &str = "RedisKeysBroken";
}

/// Grant nothing below an epoch any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRequest {
    /// The epoch. A floor never falls.
    pub floor: u64,
}

/// How far an issuer has come with a fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceResponse {
    /// The floor in force, at least the one asked for.
    #[serde(default)]
    pub floor: u64,
    /// Whether nothing below it is under way any more. Only then the fence holds.
    pub drained: bool,
    /// Requests under way below it.
    #[serde(default)]
    pub outstanding: u64,
}

/// What an issuer reports: its load, and whether it grants. All counts are since the process started.
///
/// ```
/// use coupon_core::contract::Pressure;
///
/// // What an older issuer does not say has a default, and what is not known here is ignored.
/// let older = r#"{"queueDepth": 3, "queueCapacity": 100, "rejected": 0, "delayed": 1, "answered": 250, "epoch": 7, "unknown": true}"#;
/// let pressure: Pressure = serde_json::from_str(older)?;
/// assert_eq!((pressure.epoch, pressure.floor, pressure.reason), (Some(7), 0, None));
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pressure {
    /// Requests that wait in the queue.
    pub queue_depth: u64,
    /// Requests that may wait.
    pub queue_capacity: u64,
    /// Requests refused because there was no room.
    pub rejected: u64,
    /// Requests that waited too long for their turn.
    pub delayed: u64,
    /// Requests that got a final result, rather than a 503.
    pub answered: u64,
    /// Requests sent to Redis that are not over yet.
    #[serde(default)]
    pub outstanding: u64,
    /// The epoch under which it grants; `None` when it grants nothing.
    pub epoch: Option<u64>,
    /// Below this epoch it grants nothing.
    #[serde(default)]
    pub floor: u64,
    /// Why it grants nothing; `None` while it does. An older issuer does not say.
    pub reason: Option<String>,
    /// Why its calls to Redis fail, in Redis' words, if they do for a while. An older issuer does not say.
    pub failing: Option<String>,
    /// Why Kafka takes no winners, in Kafka's words, if its user lacks a right. An older issuer does not say.
    pub kafka_refuses: Option<String>,
    /// Open connections of users.
    #[serde(default)]
    pub connections: u64,
    /// Connections that users may have.
    #[serde(default)]
    pub connection_capacity: u64,
    /// Connections refused because all that were open were being answered. An older issuer does not say.
    #[serde(default)]
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Wrong: an operator reads nothing from the issuers of the release before or after it, and a repair deletes all of them.
    #[test]
    fn programs_of_different_age_understand_each_other() {
        let least = json!({"queueDepth": 1, "queueCapacity": 2, "rejected": 3, "delayed": 4, "answered": 5});
        let read: Pressure = serde_json::from_value(least).unwrap();
        let expected =
            Pressure { queue_depth: 1, queue_capacity: 2, rejected: 3, delayed: 4, answered: 5, ..Pressure::default() };
        assert_eq!(read, expected);
        let Value::Object(mut written) = serde_json::to_value(&expected).unwrap() else { panic!("an object") };
        assert!(written["epoch"].is_null() && written["kafkaRefuses"].is_null(), "{written:?}");
        written.insert("later".to_owned(), json!(["of", "any", "type"]));
        assert_eq!(serde_json::from_value::<Pressure>(written.into()).unwrap(), expected);

        let fenced: FenceResponse = serde_json::from_value(json!({"drained": true, "later": 1})).unwrap();
        assert!(fenced.drained);
        assert_eq!(serde_json::from_value::<FenceRequest>(json!({"floor": 7, "later": 1})).unwrap().floor, 7);
        assert!(serde_json::from_value::<FenceResponse>(json!({"floor": 7})).is_err(), "nothing confirms it");
    }
}
