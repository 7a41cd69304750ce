//! Which compression topics may have: what the clients of this build can read.

use std::sync::LazyLock;

use rdkafka::ClientConfig;

use crate::api;

/// Kafka's key for the codec that brokers store records in.
pub(super) const COMPRESSION: &str = "compression.type";
/// Records stay as their producers compressed them.
pub(super) const AS_PRODUCED: &str = "producer";

/// The codecs that this build can read.
static READABLE: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let features = ClientConfig::new().create_native_config().and_then(|native| native.get("builtin.features"));
    let features = features.unwrap_or_default();
    let built_in = ["gzip", "snappy", "zstd"];
    let found = built_in.into_iter().filter(|codec| features.split(',').any(|each| each == *codec));
    // LZ4 comes with every librdkafka.
    [AS_PRODUCED, "uncompressed", "lz4"].into_iter().chain(found).collect()
});

/// A codec that a class sets and no client here can read; with those that they can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// As the class says.
    pub codec: String,
    /// Which there are instead.
    pub known: String,
}

/// Whether a class sets a codec that no client here can read.
pub fn unreadable(kafka: &api::Kafka) -> Option<Unreadable> {
    let codec = kafka.topic_config.get(COMPRESSION)?;
    let is_known = READABLE.iter().any(|known| known.eq_ignore_ascii_case(codec));
    (!is_known).then(|| Unreadable { codec: codec.clone(), known: READABLE.join(", ") })
}
