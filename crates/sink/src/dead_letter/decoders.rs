//! Headers of any record, on its way to the dead-letter topic and back there again: nothing panics, where it first lay is never lost, and
//! what a cut letter keeps is bounded. `make fuzz` runs this for longer.

use proptest::prelude::*;

use super::*;

use coupon_testing::mangled::mangled;

/// Headers of a stranger's, among them those that we write ourselves. librdkafka takes any name without a zero byte.
fn strange() -> impl Strategy<Value = Vec<RawHeader>> {
    let ours: Vec<Vec<u8>> =
        ORIGIN.iter().chain(&FAILURE).chain(&TRUNCATED).map(|name| name.as_bytes().to_vec()).collect();
    let name = mangled(ours).prop_map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', "0"));
    let value = proptest::option::of(mangled(vec![vec![0, 0, 0, 7], b"7".to_vec()]));
    proptest::collection::vec((name, value), 0..8)
}

fn message(headers: &[RawHeader]) -> OwnedMessage {
    let headers = kept(headers, |_, _| true);
    OwnedMessage::new(Some(b"v".to_vec()), None, "t".to_owned(), Timestamp::CreateTime(7), 1, 9, Some(headers))
}

fn of(all: &[RawHeader], names: &[&str]) -> Vec<RawHeader> {
    all.iter().filter(|(name, _)| names.contains(&name.as_str())).cloned().collect()
}

proptest! {
    #[test]
    fn the_headers_of_a_letter(given in strange(), rest in any::<bool>()) {
        let cut = Cut { value: false, rest };
        let first = raw_headers(&headers(&message(&given), "g", &DeadLetterReason::Conflict, 1, cut)).unwrap();
        let second = raw_headers(&headers(&message(&first), "g2", &DeadLetterReason::Conflict, 2, cut)).unwrap();
        for all in [&first, &second] {
            for name in FAILURE {
                prop_assert_eq!(of(all, &[name]).len(), 1, "{} is said once", name);
            }
            if rest {
                let bounded = |(_, value): &RawHeader| value.as_ref().is_none_or(|value| value.len() <= MAX_KEPT);
                prop_assert!(of(all, &ORIGIN).iter().all(bounded));
                prop_assert!(all.iter().all(|(name, _)| [&ORIGIN[..], &FAILURE, &TRUNCATED].concat().contains(&name.as_str())));
            }
        }
        prop_assert_eq!(of(&second, &ORIGIN), of(&first, &ORIGIN), "a second trip keeps the first origin");
        if !rest {
            let others = |all: &[RawHeader]| -> Vec<RawHeader> {
                let known = [&ORIGIN[..], &FAILURE].concat();
                all.iter().filter(|(name, _)| !known.contains(&name.as_str())).cloned().collect()
            };
            prop_assert_eq!(others(&second), others(&given), "what is not ours stays, in order");
        }
    }
}
