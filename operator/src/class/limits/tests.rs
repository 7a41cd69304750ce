use super::*;
use crate::fixtures;
use crate::reconcile::scene::Scene;

const DAY_MS: i64 = 86_400_000;

fn limits() -> Limits {
    Limits {
        max_total_quantity: 1000,
        max_per_user_limit: 2,
        max_partitions: 6,
        max_replicas: 3,
        max_window_days: 7,
        campaigns_per_namespace: 5,
    }
}

fn asking(change: impl FnOnce(&mut crate::api::CouponCampaignSpec)) -> CouponCampaign {
    let mut campaign = fixtures::campaign();
    change(&mut campaign.spec);
    campaign
}

fn end_after(campaign: &mut crate::api::CouponCampaignSpec, days: i64) {
    let start = campaign.window.start.0.as_millisecond();
    campaign.window.end = Time(Timestamp::from_millisecond(start + days * DAY_MS).unwrap());
}

/// Wrong: what is left out violates the class, or people hear of one limit after the other.
#[test]
fn all_that_is_too_much_is_said_at_once_and_nothing_that_nobody_asked_for() {
    let fields = |campaign: &CouponCampaign| {
        let (_, exceeded) = hold(campaign, &limits(), &InForce::default());
        exceeded.iter().map(|each| each.field).collect::<Vec<_>>()
    };
    assert!(fields(&fixtures::campaign()).is_empty(), "four issuers by default, and the class allows three");
    assert!(fields(&asking(|spec| spec.partitions = 6)).is_empty(), "six consumers by default");
    let all = asking(|spec| {
        (spec.total_quantity, spec.per_user_limit, spec.partitions) = (1001, 3, 7);
        (spec.issuer.min_replicas, spec.issuer.max_replicas) = (Some(4), Some(5));
        (spec.consumer.min_replicas, spec.consumer.max_replicas) = (4, Some(7));
        end_after(spec, 8);
    });
    let expected = [
        "totalQuantity",
        "perUserLimit",
        "partitions",
        "issuer.maxReplicas",
        "issuer.minReplicas",
        "consumer.maxReplicas",
        "consumer.minReplicas",
        "window, in days,",
    ];
    assert_eq!(fields(&all), expected);
    let (_, exceeded) = hold(&all, &limits(), &InForce::default());
    assert!(sentence(&exceeded).starts_with("totalQuantity is 1001, at most 1000; perUserLimit is 3, at most 2"));
    assert!(sentence(&exceeded).ends_with("window, in days, is 8, at most 7"), "{}", sentence(&exceeded));
}

#[test]
fn numbers_of_pods_that_are_left_out_stay_within_the_class() {
    let (held, _) = hold(&asking(|spec| spec.partitions = 6), &limits(), &InForce::default());
    assert_eq!((held.spec.max_issuers(), held.spec.max_consumers()), (3, 3));
    // Pods that are there already are not taken away by a limit.
    let (held, _) = hold(&asking(|spec| spec.partitions = 6), &limits(), &InForce::default().with_pods(4, 5));
    assert_eq!((held.spec.max_issuers(), held.spec.max_consumers()), (4, 5));
    let (held, exceeded) = hold(&asking(|spec| spec.partitions = 7), &limits(), &InForce::default());
    assert_eq!((held.spec.partitions, exceeded.len()), (6, 1));
}

/// Wrong: a budget of money holds until the first epoch only.
#[test]
fn what_grows_is_held_and_what_is_in_force_stays() {
    let has = InForce {
        total: 5000,
        user_limit: 5,
        partitions: 9,
        end_ms: fixtures::START + 20 * DAY_MS,
        issuers: 0,
        consumers: 0,
    };
    let asked = |total, limit, partitions, days| {
        asking(|spec| {
            (spec.total_quantity, spec.per_user_limit, spec.partitions) = (total, limit, partitions);
            end_after(spec, days);
        })
    };
    for (what, campaign, has, expected, refused) in [
        ("within the limits", asked(1000, 2, 6, 7), InForce::default(), (1000, 2, 6, 7), 0),
        ("more than the limits", asked(1001, 3, 7, 8), InForce::default(), (1000, 2, 6, 7), 4),
        ("in force before the limits fell", asked(5000, 5, 9, 20), has, (5000, 5, 9, 20), 0),
        ("and still more", asked(5001, 6, 10, 21), has, (5000, 5, 9, 20), 4),
        ("less than in force, more than allowed", asked(4000, 4, 8, 10), has, (4000, 4, 8, 10), 0),
    ] {
        let (held, exceeded) = hold(&campaign, &limits(), &has);
        let spec = &held.spec;
        let days = (spec.window.end.0.as_millisecond() - spec.window.start.0.as_millisecond()) / DAY_MS;
        assert_eq!((spec.total_quantity, spec.per_user_limit, spec.partitions, days), expected, "{what}");
        assert_eq!(exceeded.len(), refused, "{what}: {exceeded:?}");
    }
}

/// The same, as a pass decides it.
#[test]
fn a_sale_that_runs_gets_no_more_than_its_class_allows() {
    let open = || Scene::open().issued(10).stored(10).with(|s| s.class.spec.limits = limits());
    let refused = |scene: &Scene| {
        let plan = scene.plan();
        let report =
            plan.refusals.iter().find(|report| report.reason == LIMIT_EXCEEDED).map(|each| each.message.clone());
        (plan, report)
    };
    let (plan, none) = refused(&open().quantity(1000));
    assert_eq!((plan.terms.total, none), (1000, None));
    let (plan, said) = refused(&open().quantity(10_000_000).with(|s| s.campaign.spec.partitions = 100));
    assert_eq!(plan.terms.total, 1000, "as much as may be");
    let steps = format!("{:?}", plan.steps);
    assert!(steps.contains("partitions: 6") && !steps.contains("partitions: 100"), "{steps}");
    let said = said.unwrap();
    for words in
        ["totalQuantity is 10000000, at most 1000", "partitions is 100, at most 6", "in force is totalQuantity 1000"]
    {
        assert!(said.contains(words), "{said}");
    }
    // The limit falls below what is sold already.
    let lowered = open().with(|s| s.class.spec.limits.max_total_quantity = 50);
    let (plan, said) = refused(&lowered);
    assert_eq!((plan.terms.total, said), (100, None), "nothing is taken away");
    let (plan, said) = refused(&lowered.quantity(101));
    assert_eq!(plan.terms.total, 100);
    assert!(said.unwrap().contains("totalQuantity is 101, at most 50"));
}
