//! How a missing right in Kafka is known.

use rdkafka::error::RDKafkaErrorCode as Code;

/// Whether this is what Kafka says to a user that lacks a right.
pub fn lacks_a_right(code: Code) -> bool {
    matches!(code, Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed)
}

/// Whether these words tell of such a right: librdkafka has a sentence for each, and processes pass it on.
pub fn says_missing_right(words: &str) -> bool {
    words.contains("authorization failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_known_by_its_words() {
        for (code, expected) in [
            (Code::TopicAuthorizationFailed, true),
            (Code::GroupAuthorizationFailed, true),
            (Code::ClusterAuthorizationFailed, true),
            (Code::SaslAuthenticationFailed, false),
            (Code::MessageTimedOut, false),
        ] {
            assert_eq!((lacks_a_right(code), says_missing_right(&code.to_string())), (expected, expected), "{code}");
        }
    }
}
