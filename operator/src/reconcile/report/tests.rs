mod ledger;
mod moved;
mod open;
mod refusals;
mod removed;
mod routes;
mod systems;
mod without_class;
mod workloads;

use coupon_core::format::Newer;
use coupon_core::position::Position;
use coupon_kafka_admin::TopicState;
use coupon_ledger::redis::RedisError;
use k8s_openapi::api::apps::v1::{DeploymentSpec, DeploymentStatus};
use serde_json::json;

use super::*;
use crate::api::conditions::find;
use crate::class::measure::Measured;
use crate::diagnosis::NotReadyCause;
use crate::fixtures::{self, END, HOUR, LEAD, START};
use crate::issuer_client::serving::Service;
use crate::kafka::view::DeadUnread;
use crate::ledger::epoch::{EpochError, Opened};
use crate::ledger::repair::compare::ComparisonStatus;
use crate::ledger::repair::scan::ScanResult;
use crate::reconcile::epochs::EpochWatch;
use crate::reconcile::replicas::ReplicaCount;
use crate::reconcile::rollout::Rollouts;
use crate::reconcile::scene::{Scene, topic};
use crate::reconcile::starting::Starting;
use crate::workloads::ownership::NotOurs;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

const LATER: Timestamp = Timestamp::constant(1_800_000_060, 0);

/// A Deployment with so many replicas, of which so many are ready.
fn deployment(replicas: i32, ready: i32) -> Deployment {
    Deployment {
        spec: Some(DeploymentSpec { replicas: Some(replicas), ..DeploymentSpec::default() }),
        status: Some(DeploymentStatus { ready_replicas: Some(ready), ..DeploymentStatus::default() }),
        ..Deployment::default()
    }
}

/// What the status of a scene is, when its pods are as they should be.
fn status_of(scene: &Scene) -> CouponCampaignStatus {
    status_with(scene, 3, None, None, NOW)
}

fn status_with(
    scene: &Scene,
    ready_consumers: i32,
    failure: Option<&ReconcileError>,
    adopted: Option<u64>,
    now: Timestamp,
) -> CouponCampaignStatus {
    status_while(scene, ready_consumers, failure, adopted, now, Lasting::default())
}

/// What lasts so long that it is said.
#[derive(Default)]
struct Lasting<'a> {
    /// What cannot be read of the log could not be read for long.
    offsets_unread: bool,
    /// Consumers have stored nothing for long.
    consumers_still: Option<&'a str>,
    /// Why pods are not ready.
    ailing: Ailing,
    /// What issuers say; `None`: they grant.
    service: Option<Service>,
    /// Redis can be read, and takes no writes.
    redis_refusal: Option<&'a RedisError>,
    /// The Service has no endpoints.
    leads_nowhere: bool,
    /// What is known of the way from outside.
    route: Option<Report>,
    strays: Option<&'a str>,
    /// Issuers that are ready; `None`: the one that should be.
    issuers: Option<i32>,
    /// What became of its epochs.
    epochs: EpochWatch,
    /// What issuers say of a right.
    right_missing: Option<&'a str>,
    /// What comparing has come to; `None`: rows and Redis are the same.
    compared: Option<ComparisonStatus>,
    /// Pods that are missing are new ones.
    starting: Starting,
    /// Issuers that end.
    ending_issuers: usize,
    /// What was found in Redis only.
    scan: ScanResult,
    /// What a look at the class found.
    measured: Option<&'a Measured>,
}

fn status_while(
    scene: &Scene,
    ready_consumers: i32,
    failure: Option<&ReconcileError>,
    adopted: Option<u64>,
    now: Timestamp,
    Lasting {
        offsets_unread,
        consumers_still,
        ailing,
        service,
        redis_refusal,
        issuers,
        leads_nowhere,
        route,
        strays,
        epochs,
        right_missing,
        compared,
        starting,
        ending_issuers,
        scan,
        measured,
    }: Lasting<'_>,
) -> CouponCampaignStatus {
    let service = service.unwrap_or(Service::Grants);
    let (issuer, consumer) = (deployment(1, issuers.unwrap_or(1)), deployment(3, ready_consumers));
    let (plan, seen) = (scene.plan(), scene.observation());
    let numbers = scene.numbers(ReplicaCount::of(Some(&issuer)), ReplicaCount::of(Some(&consumer)));
    let facts = Facts {
        campaign: &scene.campaign,
        class: &scene.class,
        id: &fixtures::id(),
        seen: &seen,
        plan: &plan,
        numbers: &numbers,
        failure,
        issuer: Some(&issuer),
        consumer: Some(&consumer),
        adopted,
        scan: &scan,
        compared: compared.unwrap_or(ComparisonStatus { proves: true, suspect: None }),
        measured,
        kafka_refuses: None,
        nobody_serves: None,
        service: &service,
        users_reach_issuers: !leads_nowhere,
        route,
        strays,
        redis_refusal,
        ailing: &ailing,
        starting,
        ending_issuers,
        stop: None,
        epochs: &epochs,
        right_missing,
        rollouts: &Rollouts::default(),
        offsets_unread,
        consumers_still,
    };
    status(&facts, now)
}

/// "True/Reason", or "" when the condition is not there.
fn says(status: &CouponCampaignStatus, condition: ConditionType) -> String {
    find(&status.conditions, condition).map_or(String::new(), |each| format!("{}/{}", each.status, each.reason))
}

fn message(status: &CouponCampaignStatus, condition: ConditionType) -> String {
    find(&status.conditions, condition).map_or(String::new(), |each| each.message.clone())
}

/// The status as a watch gives it back: through JSON, and with the conditions in the order in which they are written.
fn stored(status: &CouponCampaignStatus) -> CouponCampaignStatus {
    let mut sorted = status.clone();
    sorted.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    serde_json::from_value(serde_json::to_value(sorted).unwrap()).unwrap()
}

#[test]
fn the_conditions_of_a_campaigns_life() {
    use ConditionType::{Open, Ready, Reconciling, Stalled};
    for (scene, ready, open, reconciling, stalled) in [
        (Scene::new_campaign(), "False/TopicMissing", "False/Pending", "True/TopicMissing", ""),
        (Scene::with_topics(), "False/NoOpenEpoch", "False/Pending", "True/NoOpenEpoch", ""),
        // GitOps tools wait for Ready: a sale next week must not keep them waiting until then.
        (Scene::prepared(), "True/AllChecksPassed", "False/NotStarted", "", ""),
        (Scene::open().issued(10).lag(4).stored(6), "True/AllChecksPassed", "True/WindowOpen", "", ""),
        (Scene::open().issued(100).stored(100), "True/AllChecksPassed", "False/SoldOut", "", ""),
        (
            Scene::open().with(|s| s.campaign.spec.suspend = true).in_force(),
            "True/AllChecksPassed",
            "False/Suspended",
            "",
            "",
        ),
        (
            Scene::open().with(|s| s.campaign.spec.suspend = true).database_away(),
            "False/DatabaseUnavailable",
            "True/SuspensionPending",
            "True/DatabaseUnavailable",
            "",
        ),
        (
            Scene::open().with(|s| s.in_redis().terms.suspended = true).database_away(),
            "False/DatabaseUnavailable",
            "False/ResumptionPending",
            "True/DatabaseUnavailable",
            "",
        ),
        (
            Scene::completed().starting(START + HOUR).at(END - 1).with(|s| s.row().object_uid = Some("2".to_owned())),
            "False/LedgerTermsDiffer",
            "False/Pending",
            "",
            "True/LedgerTermsDiffer",
        ),
        (
            Scene::completed().starting(START + HOUR).with(|s| s.row().object_uid = Some("2".to_owned())),
            "False/LedgerTermsDiffer",
            "False/Ended",
            "",
            "True/LedgerTermsDiffer",
        ),
        (Scene::open().redis_emptied(), "False/RedisEmpty", "False/Repairing", "True/RedisEmpty", ""),
        (Scene::open().issued(10).lag(4).stored(6).at(END), "True/AllChecksPassed", "False/Ended", "", ""),
        (Scene::completed(), "True/AllChecksPassed", "False/Ended", "", ""),
        (
            Scene::open().issued(70).quantity(60),
            "False/QuantityBelowIssued",
            "True/WindowOpen",
            "",
            "True/QuantityBelowIssued",
        ),
        (
            Scene::open().issued(70).quantity(60).in_force().in_force().in_row(),
            "False/QuantityBelowIssued",
            "False/SoldOut",
            "",
            "True/QuantityBelowIssued",
        ),
    ] {
        let status = status_of(&scene);
        assert_eq!(
            [Ready, Open, Reconciling, Stalled].map(|condition| says(&status, condition)),
            [ready, open, reconciling, stalled],
            "{scene:#?}"
        );
    }
}

/// Wrong: status shows what people ask for, as if it were so.
#[test]
fn the_terms_in_force_are_shown_whatever_is_asked_for() {
    let shown = |scene: &Scene| status_of(scene).terms.map(|terms| (terms.total_quantity, terms.suspended));
    assert_eq!(shown(&Scene::new_campaign()), None);
    assert_eq!(shown(&Scene::prepared()), Some((100, false)));
    let asked = Scene::open().quantity(150).with(|s| s.campaign.spec.suspend = true);
    assert_eq!(shown(&asked), Some((100, false)), "on its way");
    assert_eq!(shown(&asked.clone().in_force()), Some((150, true)));
    let mut away = asked.in_force();
    away.campaign.status = Some(stored(&status_of(&away)));
    assert_eq!(shown(&away.redis_away()), Some((150, true)), "what was in force stays shown while Redis is away");

    let mut closed_out = Scene::completed().redis_emptied().quantity(300).starting(START + HOUR);
    closed_out.row().object_uid = Some("2".to_owned());
    closed_out.campaign.status = None;
    let status = status_of(&closed_out);
    assert_eq!(status.terms.as_ref().map(|terms| terms.total_quantity), Some(100), "the ledger's own");
    assert_eq!(status.epoch, None, "it has had none of this ledger, and the next look must know");
    assert_eq!(says(&status, ConditionType::Stalled), "True/LedgerTermsDiffer");
}

#[test]
fn an_unchanged_situation_writes_no_status() {
    // A write would start the next pass, and that the next write.
    for scene in [
        Scene::new_campaign(),
        Scene::prepared(),
        Scene::open().issued(10).lag(4).stored(6),
        Scene::open().kafka_away(),
        Scene::open().redis_emptied(),
        Scene::open().issued(70).quantity(60).starting(START + 1000),
        Scene::open().with(|s| s.kafka().topic.events = topic("t9", 3)),
        Scene::completed(),
    ] {
        let before = stored(&status_with(&scene, 3, None, Some(5), NOW));
        let mut again = scene.clone();
        again.campaign.status = Some(before.clone());
        assert_eq!(status_with(&again, 3, None, None, LATER), before, "{scene:#?}");
    }
}

#[test]
fn every_condition_says_which_generation_it_describes_and_stands_once() {
    let mut scene = Scene::open().issued(70).quantity(60).with(|s| s.kafka().topic.events = topic("t9", 3));
    scene.campaign.metadata.generation = Some(7);
    let status = status_of(&scene);
    assert_eq!(status.observed_generation, Some(7));
    let mut types: Vec<&str> = status.conditions.iter().map(|each| each.type_.as_str()).collect();
    assert!(status.conditions.iter().all(|each| each.observed_generation == Some(7)));
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), status.conditions.len());
}

#[test]
fn a_counter_that_cannot_be_read_keeps_its_last_value() {
    let known = stored(&status_of(&Scene::open().issued(10).stored(6).dead_letters(1)));
    assert_eq!(
        (known.issued, known.persisted, known.lag, known.dead_letters, known.unconfirmed),
        (Some(10), Some(6), Some(0), Some(1), Some(3))
    );
    let mut blind = Scene::open().database_away().redis_away().kafka_away();
    blind.campaign.status = Some(known.clone());
    let status = status_of(&blind);
    assert_eq!(
        (status.issued, status.persisted, status.lag, status.dead_letters, status.unconfirmed),
        (known.issued, known.persisted, known.lag, known.dead_letters, known.unconfirmed)
    );
    assert_eq!((status.epoch, status.topic), (known.epoch, known.topic.clone()));

    // Redis has lost them, and rows were stored meanwhile.
    let mut lost = Scene::open().stored(8).redis_emptied();
    lost.campaign.status = Some(known.clone());
    assert_eq!(status_of(&lost).issued, Some(10), "an empty Redis is not zero");
    let mut away = Scene::open().stored(12).redis_away();
    away.campaign.status = Some(known.clone());
    assert_eq!(status_of(&away).issued, Some(12), "each row was issued");

    let never_read = status_of(&Scene::new_campaign().database_away().redis_away().kafka_away());
    assert_eq!((never_read.issued, never_read.persisted, never_read.lag), (None, None, None), "unknown is not zero");
}

/// Wrong: a raise that waits for a system is said nowhere, and people are told that every coupon is issued.
#[test]
fn a_raise_that_is_not_in_force_is_said_of_a_sale_that_is_sold_out() {
    let open = |scene: Scene| {
        let status = status_of(&scene);
        find(&status.conditions, ConditionType::Open).unwrap().message.clone()
    };
    let sold_out = || Scene::open().issued(100).stored(100);
    assert_eq!(open(sold_out()), "every coupon is issued");
    let waits = open(sold_out().quantity(150).kafka_away());
    assert!(
        waits.starts_with("all 100 coupons are issued; totalQuantity 150 is asked for, and not in force yet"),
        "{waits}"
    );
}

#[test]
fn the_url_and_the_next_change_are_for_people() {
    let mut scene = Scene::prepared();
    let status = status_of(&scene);
    assert_eq!(status.url.as_deref(), Some("http://spring-issuer.shop.svc/api/coupons/spring/issue"));
    assert_eq!(status.next_transition.map(|time| time.0.as_millisecond()), Some(LEAD));
    scene.class.spec.routing.url_template = Some("https://c.example/{namespace}/{couponId}".to_owned());
    assert_eq!(status_of(&scene).url.as_deref(), Some("https://c.example/shop/spring"));
}

fn cause(reason: &'static str, text: &str) -> Option<NotReadyCause> {
    Some(NotReadyCause { reason, text: text.to_owned(), is_starting: false })
}
