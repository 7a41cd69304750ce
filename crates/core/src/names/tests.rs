use super::*;
use proptest::prelude::*;

fn templates(topic: &str, dead_letter_topic: &str, consumer_group: &str) -> Templates {
    Templates {
        topic: topic.to_owned(),
        dead_letter_topic: dead_letter_topic.to_owned(),
        consumer_group: consumer_group.to_owned(),
    }
}

fn names(topic: &str, dead_letter_topic: &str, consumer_group: &str) -> Result<KafkaNames, NamesError> {
    KafkaNames::new(templates(topic, dead_letter_topic, consumer_group))
}

const GROUP: &str = "{namespace}.{couponId}.readers";

/// Wrong: an installation that says nothing of names looks for its topics under others after an upgrade.
#[test]
fn who_says_nothing_keeps_the_names_that_have_always_been() {
    assert_eq!(KafkaNames::new(Templates::default()).unwrap(), KafkaNames::default());
    let (names, id) = (KafkaNames::default(), Identity::new("prod", "shop", "spring").unwrap());
    assert!(names.are_default());
    assert_eq!(names.topic(&id), "prod.shop.spring.coupon-events");
    assert_eq!(names.dead_letter_topic(&id), "prod.shop.spring.coupon-events.DLT");
    assert_eq!(names.group(&id), "prod.shop.spring.coupon-consumer");
    let nobodys = names.of_nobody("prod", "probe");
    assert_eq!(nobodys.topic, "prod.-.probe.coupon-events");
    assert_eq!(nobodys.dead_letter_topic, "prod.-.probe.coupon-events.DLT");
    assert_eq!(nobodys.group, "prod.-.probe.coupon-consumer");
}

#[test]
fn templates_make_names() {
    for (topic, dead, group, expected) in [
        (
            "acme.coupons.{realm}.{namespace}.{couponId}",
            "{topic}.dlq",
            "acme.coupons.{realm}.{namespace}.{couponId}.readers",
            [
                "acme.coupons.prod.shop.spring",
                "acme.coupons.prod.shop.spring.dlq",
                "acme.coupons.prod.shop.spring.readers",
            ],
        ),
        (
            "ACME_{namespace}_{couponId}",
            "dlq.{topic}",
            "cg-{couponId}.{namespace}",
            ["ACME_shop_spring", "dlq.ACME_shop_spring", "cg-spring.shop"],
        ),
        (
            "{namespace}.team-{couponId}-v1.private",
            "{namespace}.team-{couponId}-v1.dead",
            "{namespace}_{couponId}",
            ["shop.team-spring-v1.private", "shop.team-spring-v1.dead", "shop_spring"],
        ),
        // Kafka's own topics begin with two; one is nobody's.
        ("_{namespace}.{couponId}", "{topic}.d", GROUP, ["_shop.spring", "_shop.spring.d", "shop.spring.readers"]),
    ] {
        let names = names(topic, dead, group).unwrap_or_else(|error| panic!("{topic}: {error}"));
        let id = Identity::new("prod", "shop", "spring").unwrap();
        assert_eq!([names.topic(&id), names.dead_letter_topic(&id), names.group(&id)], expected);
    }
}

#[test]
fn templates_that_could_do_harm_are_refused_with_what_to_change() {
    let long = |len: usize| format!("{}.{{namespace}}.{{couponId}}", "x".repeat(len));
    // One character less would fit: 144 + 63 + 40 and two points.
    let (fits, too_long) = (long(144), long(145));
    let apart = "d.e.{namespace}.{couponId}";
    assert!(names(&fits, apart, GROUP).is_ok());
    for (topic, dead, group, says) in [
        ("x.{namespace}.{couponId}!", "{topic}.d", GROUP, "topic holds `!`"),
        ("x.{namespace}.{couponId} ", "{topic}.d", GROUP, "topic holds ` `"),
        ("x.{namespace}.{couponId}.ü", "{topic}.d", GROUP, "topic holds `ü`"),
        ("x.{namespace}.{couponId}.{name}", "{topic}.d", GROUP, "topic holds `{name}`"),
        ("x.{namespace}.{couponId}.{topic}", "{topic}.d", GROUP, "topic holds `{topic}`"),
        ("x.{namespace}.{couponId}.{", "{topic}.d", GROUP, "topic holds `{`"),
        ("x.{namespace}", "{topic}.d", GROUP, "topic needs {couponId}"),
        ("x.{couponId}", "{topic}.d", GROUP, "topic needs {namespace}"),
        ("", "{topic}.d", GROUP, "topic needs {namespace}"),
        ("..", "{topic}.d", GROUP, "topic needs {namespace}"),
        ("x.{namespace}.{couponId}", "dead-letters", GROUP, "deadLetterTopic needs {namespace}"),
        ("x.{namespace}.{couponId}", "{topic}.d", "one-for-all", "consumerGroup needs {namespace}"),
        ("x.{namespace}.{couponId}", "{topic}.{namespace}", GROUP, "deadLetterTopic holds {namespace} more than once"),
        ("{namespace}{couponId}", "{topic}.d", GROUP, "two placeholders in `{namespace}{couponId}`"),
        ("x.{namespace}-{couponId}", "{topic}.d", GROUP, "topic has two placeholders in `{namespace}-{couponId}`"),
        ("x.{namespace}.{couponId}", "{topic}.d", "{namespace}-{couponId}", "consumerGroup has two placeholders"),
        ("__{namespace}.{couponId}", "{topic}.d", GROUP, "topic begins with `__`"),
        (&too_long, "d.e.{namespace}.{couponId}", GROUP, "topic may get 250 characters, and Kafka takes 249"),
        (&fits, "{topic}.d", GROUP, "deadLetterTopic may get 251 characters"),
        ("x.{namespace}.{couponId}", "{topic}.d", &too_long, "consumerGroup may get 250 characters"),
        ("{realm}.{namespace}.{couponId}", "{topic}.d", GROUP, "consumerGroup needs {realm}, as topic has it"),
        ("{realm}.{namespace}.{couponId}", "d.e.{namespace}.{couponId}", GROUP, "deadLetterTopic needs {realm}"),
        // Of one campaign.
        ("x.{namespace}.{couponId}", "{topic}", GROUP, "topic and deadLetterTopic can be the same"),
        ("x.{namespace}.{couponId}", "x_{namespace}_{couponId}", GROUP, "topic and deadLetterTopic can be the same"),
        // Of two: of a in b and b in a; of spring and of spring-dlq.
        ("{namespace}.{couponId}", "{couponId}.{namespace}", GROUP, "topic and deadLetterTopic can be the same"),
        ("x.{namespace}.{couponId}", "{topic}-dlq", GROUP, "topic and deadLetterTopic can be the same"),
        (
            "{namespace}.{couponId}.{realm}",
            "{realm}.{namespace}.{couponId}",
            "{topic}",
            "consumerGroup holds `{topic}`",
        ),
        ("{realm}.{namespace}.{couponId}", "dlq.{couponId}.{namespace}", GROUP, "deadLetterTopic needs {realm}"),
        ("{couponId}.{namespace}.x", "dlq.{namespace}.{couponId}", GROUP, "topic and deadLetterTopic can be the same"),
    ] {
        let error = names(topic, dead, group).expect_err(&format!("{topic} {dead} {group}")).to_string();
        assert!(error.contains(says), "{topic} {dead} {group}: {error}");
    }
    // What no label can be tells them apart.
    assert!(names("{couponId}.{namespace}.x", "DLQ.{namespace}.{couponId}", GROUP).is_ok());
}

#[test]
fn they_are_written_and_read_back_and_checked_then() {
    let own = names("x.{namespace}.{couponId}", "{topic}.d", GROUP).unwrap();
    let text = serde_json::to_string(&own).unwrap();
    assert_eq!(
        text,
        r#"{"topic":"x.{namespace}.{couponId}","deadLetterTopic":"{topic}.d","consumerGroup":"{namespace}.{couponId}.readers"}"#
    );
    assert_eq!(serde_json::from_str::<KafkaNames>(&text).unwrap(), own);
    assert_eq!(serde_json::from_str::<KafkaNames>("{}").unwrap(), KafkaNames::default());
    let error = serde_json::from_str::<KafkaNames>(r#"{"topic":"all"}"#).unwrap_err().to_string();
    assert!(error.contains("topic needs {namespace}"), "{error}");
}

/// A part of a template.
fn part() -> impl Strategy<Value = String> {
    let literal = prop_oneof!["[A-Za-z0-9-]{0,3}", Just("-".to_owned()), Just("a".to_owned())];
    let placeholder = prop_oneof![6 => Just(""), 2 => Just(REALM), 1 => Just(NAMESPACE), 1 => Just(COUPON_ID)];
    (literal.clone(), placeholder, literal)
        .prop_map(|(before, placeholder, after)| format!("{before}{placeholder}{after}"))
}

/// Templates of which many are taken.
fn template() -> impl Strategy<Value = String> {
    let parts = || proptest::collection::vec((part(), prop_oneof![Just("."), Just("_")]), 0..2);
    let both = prop_oneof![
        Just(format!("{NAMESPACE}.{COUPON_ID}")),
        Just(format!("{COUPON_ID}_{NAMESPACE}")),
        Just(format!("{REALM}.{NAMESPACE}.{COUPON_ID}")),
        Just(format!("a-{COUPON_ID}.{NAMESPACE}-a"))
    ];
    (parts(), both, parts()).prop_map(|(before, both, after)| {
        let before: String = before.into_iter().map(|(part, point)| format!("{part}{point}")).collect();
        let after: String = after.into_iter().map(|(part, point)| format!("{point}{part}")).collect();
        format!("{before}{both}{after}")
    })
}

/// Labels that resemble each other, and what is left over of templates.
fn label() -> impl Strategy<Value = String> {
    prop_oneof!["[ab](-?[ab]){0,2}", "[a-z]([a-z0-9-]{0,3}[a-z0-9])?"]
}

fn identity() -> impl Strategy<Value = Identity> {
    (label(), label(), label()).prop_map(|(realm, namespace, id)| Identity::new(&realm, &namespace, &id).unwrap())
}

/// As Kafka tells topics apart.
fn seen(name: &str) -> String {
    name.replace('_', ".")
}

proptest! {
    // Many templates are refused.
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Wrong: two campaigns write into one topic, or store for each other.
    #[test]
    fn two_campaigns_never_share_a_name(
        topic in template(),
        dead in prop_oneof![template(), part().prop_map(|part| format!("{{topic}}.{part}")), part().prop_map(|part| format!("{{topic}}{part}"))],
        group in template(),
        one in identity(),
        other in identity(),
    ) {
        let Ok(names) = names(&topic, &dead, &group) else { return Ok(()) };
        // Where the realm is in no name, its owners' ledgers tell whose a topic is.
        let same = one == other
            || (!topic.contains(REALM) && (one.namespace(), one.coupon_id()) == (other.namespace(), other.coupon_id()));
        let dead_of_other = seen(&names.dead_letter_topic(&other));
        prop_assert_ne!(&seen(&names.topic(&one)), &dead_of_other);
        for nobodys in ["probe", "never"].map(|what| names.of_nobody(one.realm(), what)) {
            prop_assert_ne!(&seen(&nobodys.topic), &seen(&names.topic(&other)));
            prop_assert_ne!(&seen(&nobodys.topic), &dead_of_other);
            prop_assert_ne!(&seen(&nobodys.group), &seen(&names.group(&other)));
        }
        if !same {
            prop_assert_ne!(seen(&names.topic(&one)), seen(&names.topic(&other)));
            prop_assert_ne!(seen(&names.dead_letter_topic(&one)), dead_of_other);
            prop_assert_ne!(seen(&names.group(&one)), seen(&names.group(&other)));
        }
        for name in [names.topic(&one), names.dead_letter_topic(&one), names.group(&one)] {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            prop_assert!(name.len() <= MAX_NAME && name.chars().all(allowed) && !name.starts_with("__"), "{}", name);
        }
    }
}

#[test]
fn the_longest_names_fit_kafka() {
    let id = Identity::new(&"r".repeat(MAX_REALM), &"n".repeat(MAX_NAMESPACE), &"c".repeat(MAX_COUPON_ID)).unwrap();
    assert!(KafkaNames::default().dead_letter_topic(&id).len() <= MAX_NAME);
    let own =
        names(&format!("{}.{NAMESPACE}.{COUPON_ID}", "x".repeat(144)), "d.e.{namespace}.{couponId}", GROUP).unwrap();
    assert_eq!(own.topic(&id).len(), MAX_NAME);
}
