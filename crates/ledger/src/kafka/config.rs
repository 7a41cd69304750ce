//! What every client of the brokers is set to.

use rdkafka::ClientConfig;

use coupon_core::connections::Kafka;

/// A client configuration with what every client of these brokers needs, and `overrides` on top.
pub fn client_config(settings: &Kafka, client_id: &str, overrides: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in settings.properties() {
        config.set(key, value);
    }
    config
        .set("client.id", client_id)
        // A producer that asks for a missing topic must not make one: only the operator does, and knows that it did.
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        .set("socket.timeout.ms", "10000")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("topic.metadata.refresh.interval.ms", "10000");
    for (key, value) in overrides {
        config.set(*key, *value);
    }
    config
}
