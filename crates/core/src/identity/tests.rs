use std::cmp::Ordering;

use super::*;
use crate::names::{KafkaNames, Templates};
use proptest::prelude::*;

#[test]
fn names_follow_from_the_identity() {
    let id = CampaignId::with_default_names("prod", "shop", "black-friday").unwrap();
    assert_eq!(id.topic(), "prod.shop.black-friday.coupon-events");
    assert_eq!(id.dead_letter_topic(), "prod.shop.black-friday.coupon-events.DLT");
    assert_eq!(id.group(), "prod.shop.black-friday.coupon-consumer");
    assert_eq!(id.hash_tag(), "{prod/shop/black-friday}");
    assert_eq!(id.to_string().parse::<Identity>().unwrap(), *id.identity());
}

/// Wrong: a record of another campaign is taken for one of this.
#[test]
fn only_what_is_written_like_it_is_it() {
    let id = Identity::new("prod", "shop", "spring").unwrap();
    assert!(id.is_written(&id.to_string()));
    for other in ["", "prod", "prod/shop", "prod/shop/", "prod/shop/springs", "prod/shop/sprin", "prod/shop/spring/"] {
        assert!(!id.is_written(other), "{other}");
    }
    for other in ["/prod/shop/spring", "prodshop/spring", "prod//spring", "Prod/shop/spring", "prod/shops/spring"] {
        assert!(!id.is_written(other), "{other}");
    }
}

/// Wrong: a campaign is another one, with a ledger of its own, as soon as its topic is called otherwise.
#[test]
fn the_identity_decides_and_the_names_follow() {
    let templates = Templates { topic: "x.{namespace}.{couponId}".to_owned(), ..Templates::default() };
    let usual = CampaignId::with_default_names("prod", "shop", "spring").unwrap();
    let own = usual.identity().clone().named(&KafkaNames::new(templates).unwrap());
    assert_eq!((own.topic(), own.dead_letter_topic()), ("x.shop.spring".to_owned(), "x.shop.spring.DLT".to_owned()));
    assert_eq!(own, usual);
    assert_eq!(own.cmp(&usual), Ordering::Equal);
    assert_eq!(std::collections::HashSet::from([own.clone(), usual.clone()]).len(), 1);
    for text in [own.to_string(), format!("{own:?}"), own.hash_tag(), serde_json::to_string(&own).unwrap()] {
        assert!(!text.contains('x'), "{text}");
    }
    assert_eq!(serde_json::to_string(&own).unwrap(), r#""prod/shop/spring""#);
}

#[test]
fn bad_labels_are_refused_with_what_to_change() {
    for bad in ["", "Upper", "1st", "a_b", "a.b", "end-", "-start", &"a".repeat(41)] {
        let error = Identity::new("prod", "shop", bad).unwrap_err().to_string();
        assert!(error.contains("1 to 40 characters"), "{bad}: {error}");
    }
    assert!(Identity::new("prod", "2shops", "a").is_ok(), "a namespace may start with a digit");
    assert!("prod/shop".parse::<Identity>().is_err());
}

#[test]
fn user_ids_have_bounds() {
    assert!(UserId::new("").is_err());
    assert!(UserId::new("a\nb").is_err());
    let long = UserId::new("x".repeat(1 << 20)).unwrap_err().to_string();
    assert_eq!(long, "userId must have 1 to 128 bytes, it has 1048576");
}

proptest! {
    #[test]
    fn members_read_back(nth in 1u32.., user in "[^\\p{C}]{1,30}") {
        let user = UserId::new(user).unwrap();
        prop_assert_eq!(parse_member(&member(nth, &user)), Some((nth, user)));
    }
}
