//! Dead letters as anybody may have written them: nothing panics, and what is shown of them is short and safe on a terminal.
//! `make fuzz` runs this for longer.

use coupon_core::identity::CampaignId;
use proptest::prelude::*;
use rdkafka::Timestamp;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

use super::dead_letters::DeadLetter;

use coupon_testing::mangled::{is_a_sentence, mangled};

proptest! {
    #[test]
    fn a_letter(
        reason in mangled(vec![b"coupon.consumer.Conflict".to_vec()]),
        explanation in mangled(vec![b"the user has another rank".to_vec()]),
        retries in mangled(vec![b"3".to_vec()]),
        value in mangled(vec![b"{}".to_vec()]),
    ) {
        let named = [
            ("kafka_dlt-exception-fqcn", reason),
            ("kafka_dlt-exception-message", explanation),
            ("retry_count", retries),
        ];
        let headers = named
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
        let message =
            OwnedMessage::new(Some(value), None, "t".into(), Timestamp::NotAvailable, 1, 2, Some(headers));
        let letter = DeadLetter::of(&CampaignId::with_default_names("prod", "shop", "spring").unwrap(), message);
        prop_assert!(letter.reason.is_empty() || is_a_sentence(&letter.reason), "{:?}", letter.reason);
        prop_assert!(letter.explanation.is_empty() || is_a_sentence(&letter.explanation), "{:?}", letter.explanation);
        prop_assert_eq!((letter.position.partition, letter.position.offset, letter.origin), (1, 2, None));
    }
}
