mod lasting;

use super::*;
use crate::class::ClassError;
use crate::error::ReconcileError;
use crate::fixtures::{END, HOUR, MINUTE, START};
use crate::issuer_client::serving::Service;
use crate::reconcile::report::{Blind, status_elsewhere, status_without_class};
use crate::reconcile::scene::Scene;
use crate::reconcile::supply;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// A campaign that passes look at, one after the other.
struct Life {
    watch: ServedWatch,
    scene: Scene,
    at_ms: i64,
    /// For how long what a pass finds has been so.
    known_for_ms: i64,
    /// What issuers say while `Open` is Unknown.
    service: Service,
}

impl Life {
    fn new() -> Self {
        Self {
            watch: ServedWatch::default(),
            scene: Scene::open().at(START),
            at_ms: 0,
            known_for_ms: 0,
            service: Service::Silent,
        }
    }

    /// A pass so many seconds after the last one, which finds the window open or not.
    fn pass(&mut self, seconds: i64, open: Result<(), &str>) -> (CouponCampaignStatus, Option<Warning>) {
        self.at_ms += seconds * 1000;
        let scene = self.scene.clone().at(START + self.at_ms);
        let plan = scene.plan();
        let mut next = self.scene.campaign.status.clone().unwrap_or_default();
        next.phase = Some(plan.phase);
        let transition = plan.next_ms.and_then(|at| Timestamp::from_millisecond(at).ok());
        next.next_transition = transition.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
        next.issued = scene.observation().redis.ok().and_then(|redis| i64::try_from(redis.issued).ok());
        let open = match open {
            Ok(()) => Report::yes(ConditionType::Open, "WindowOpen", "coupons can be had"),
            Err("nobody knows") => Report::unknown(ConditionType::Open, "ConnectionFailed", "nobody knows"),
            Err(why) => Report::no(ConditionType::Open, "NoReadyIssuer", why),
        };
        for report in [open, Report::yes(ConditionType::Ready, "AllChecksPassed", "all is well")] {
            conditions::set(&mut next.conditions, &report, 1, NOW);
        }
        let supply = supply::of_pass(&scene.campaign, &plan, &self.service, &next);
        let moment = self.moment(WindowMs::of_pass(&plan, &scene.campaign));
        let warning = update(&mut self.watch, &moment, &scene.campaign, &supply, plan.has_opened, &mut next);
        self.scene.campaign.status = Some(next.clone());
        (next, warning)
    }

    /// A pass so many seconds after the last one, which ends before it could look; no issuer is ready.
    fn blind(&mut self, seconds: i64, error: &ReconcileError) -> (CouponCampaignStatus, Option<Warning>) {
        self.at_ms += seconds * 1000;
        let campaign = &self.scene.campaign;
        let moment = self.moment(WindowMs::of_blind_pass(campaign));
        let mut next = match error {
            ReconcileError::LedgerOwnedElsewhere(_) => status_elsewhere(campaign, error, NOW),
            _ => status_without_class(
                campaign,
                error,
                &Blind { ready: 0, service: &Service::Silent, now_ms: moment.now_ms },
                NOW,
            ),
        };
        let supply = supply::of_blind_pass(campaign, error, 0, &Service::Silent);
        let warning = update(&mut self.watch, &moment, campaign, &supply, None, &mut next);
        self.scene.campaign.status = Some(next.clone());
        (next, warning)
    }

    fn moment(&self, window: WindowMs) -> PassTime {
        PassTime { at_ms: self.at_ms, known_for_ms: self.known_for_ms, now_ms: START + self.at_ms, window, time: NOW }
    }

    /// Another process goes on.
    fn restart(&mut self) {
        self.watch = ServedWatch::default();
    }
}

fn served(status: &CouponCampaignStatus) -> Option<(&str, &str)> {
    let found = conditions::find(&status.conditions, ConditionType::WindowServed)?;
    Some((found.reason.as_str(), found.message.as_str()))
}

/// Wrong: pods were unschedulable for the whole window, and it ends Completed and Ready as if nothing had been.
#[test]
fn a_window_that_nobody_could_reach_ends_with_a_warning_and_a_condition_that_stays() {
    let mut life = Life::new();
    let nobody = Err("no issuer pod is ready: exceeded quota");
    assert_eq!((life.pass(0, nobody).1, life.pass(4, nobody).1), (None, None), "pods that start");
    let (status, warning) = life.pass(6, nobody);
    assert_eq!(warning.map(|warning| warning.reason), Some("UsersReachNobody"));
    let text = "for 10s of the window users could get no coupon, and at no time was it seen that they could; the last cause: no issuer";
    assert!(
        served(&status).is_some_and(|(reason, said)| reason == "NotServed" && said.starts_with(text)),
        "{status:?}"
    );
    assert_eq!(life.pass(20, nobody).1, None, "said once");
    life.at_ms = END - START - 2_000;
    life.pass(0, nobody);
    life.scene.campaign.status.as_mut().unwrap().phase = Some(Phase::Open);
    let (status, warning) = life.pass(2, Err("the window is over"));
    assert_eq!(warning.as_ref().map(|warning| warning.reason), Some("NotServed"));
    assert!(warning.unwrap().text.contains("for 2h of the window"), "{status:?}");
    // A process that knows nothing of it.
    life.watch = ServedWatch::default();
    life.scene.campaign.status.as_mut().unwrap().phase = Some(Phase::Completed);
    let (later, warning) = life.pass(60, Err("the window is over"));
    assert_eq!((served(&later), warning), (served(&status), None));
    assert!(served(&later).unwrap().1.ends_with("exceeded quota"));
    let ready = conditions::find(&later.conditions, ConditionType::Ready).unwrap();
    assert!(ready.message.contains("users could get no coupon"), "{}", ready.message);
}

#[test]
fn time_counts_while_it_is_seen_that_users_get_nothing() {
    let mut life = Life::new();
    let still = Err("issuers grant nothing");
    for (seconds, open, counted) in [
        (0, Ok(()), None),
        (2, still, None),
        (2, still, Some(2)),
        (2, Ok(()), Some(4)),
        (60, Ok(()), Some(4)),
        (2, still, Some(4)),
        (30, still, Some(34)),
    ] {
        assert_eq!(life.pass(seconds, open).0.unserved_seconds, counted, "{}", life.at_ms);
    }
    let (status, _) = life.pass(2, Ok(()));
    assert_eq!(
        served(&status),
        Some((
            "ServedInPart",
            "for 40s of the window users could get no coupon; the last cause: issuers grant nothing"
        ))
    );
    // Status is not written with every pass, and the watch shows it late.
    life.scene.campaign.status.as_mut().unwrap().unserved_seconds = None;
    assert_eq!(life.pass(2, still).0.unserved_seconds, Some(36));
    life.scene.campaign.status.as_mut().unwrap().issued = Some(3);
    assert_eq!(served(&life.pass(2, Ok(())).0).unwrap().0, "ServedInPart");
}

/// Wrong: Redis and Kafka are away, each pass waits for them for a minute and a half, and of that time next to nothing is counted.
#[test]
fn the_time_of_a_long_pass_counts_from_when_it_was_seen() {
    let mut life = Life::new();
    life.pass(0, Ok(()));
    life.known_for_ms = 90_000;
    assert_eq!(life.pass(91, Err("Redis does not answer")).0.unserved_seconds, Some(90));
    assert_eq!(life.pass(90, Err("Redis does not answer")).0.unserved_seconds, Some(180), "once, not twice");
    life.known_for_ms = 0;
    assert_eq!(life.pass(3, Ok(())).0.unserved_seconds, Some(183));
    assert_eq!(life.pass(60, Ok(())).0.unserved_seconds, Some(183));
}

/// Wrong: a typo in the class, for which no user missed a coupon, is held against the sale for good.
#[test]
fn time_in_which_nobody_knows_counts_only_if_issuers_say_that_they_grant_nothing() {
    for (service, expected) in
        [(Service::Grants, None), (Service::Silent, None), (Service::Refuses("1 RedisAway".to_owned()), Some(60))]
    {
        let mut life = Life::new();
        life.service = service;
        life.pass(0, Err("nobody knows"));
        assert_eq!(life.pass(60, Err("nobody knows")).0.unserved_seconds, expected, "{:?}", life.service);
    }
}

/// Wrong: a sale with last year's date is Completed and Ready at once, as if all had been well; or an operator that was away for the
/// whole window says so.
#[test]
fn a_window_that_nobody_saw_open_is_no_sale_that_went_well() {
    let mut life = Life::new();
    life.scene = Scene::prepared();
    life.at_ms = END - START + HOUR;
    let over = Err("the window is over");
    let (status, warning) = life.pass(0, over);
    assert_eq!(status.phase, Some(Phase::Completed));
    let warning = warning.unwrap();
    assert_eq!((warning.reason, served(&status)), ("WindowNotSeen", Some(("WindowNotSeen", warning.text.as_str()))));
    assert!(warning.text.contains("ended at 2026-12-01T12:00:00Z, nothing was issued"), "{}", warning.text);
    let ready = conditions::find(&status.conditions, ConditionType::Ready).unwrap();
    assert!(ready.message.contains("nobody saw it open"), "{}", ready.message);
    let (later, again) = life.pass(60, over);
    assert_eq!((served(&later), again), (served(&status), None), "said once");

    let moved = |life: &mut Life| life.at_ms = -10 * MINUTE;
    moved(&mut life);
    assert_eq!(served(&life.pass(0, Err("not yet")).0), None, "another window");

    // One that was seen open, and that nobody asked for anything; also by another process.
    for another in [false, true] {
        let mut life = Life::new();
        life.pass(5, Ok(()));
        if another {
            life.watch = ServedWatch::default();
        }
        life.at_ms = END - START + HOUR;
        assert_eq!(served(&life.pass(0, over).0), None);
        life.watch = ServedWatch::default();
        assert_eq!(served(&life.pass(60, over).0), None, "what was seen then stays so");
    }
    // Or of which winners are known.
    let mut life = Life::new();
    life.scene = Scene::prepared().issued(3).stored(3);
    life.at_ms = END - START + HOUR;
    assert_eq!((served(&life.pass(0, over).0), life.pass(0, over).1), (None, None));
}

/// Wrong: Redis was open in the window, no pod ever came up, and the operator was away until the end: all as it should be.
#[test]
fn that_redis_was_open_is_not_that_users_were_served() {
    for (said_before, says) in
        [(None, "the operator was away"), (Some("no issuer pod is ready: exceeded quota"), "exceeded quota")]
    {
        let mut life = Life::new();
        if let Some(why) = said_before {
            life.pass(2, Err(why));
            life.watch = ServedWatch::default();
        }
        life.at_ms = END - START + HOUR;
        let (status, warning) = life.pass(0, Err("the window is over"));
        let warning = warning.unwrap();
        assert_eq!((warning.reason, status.phase), ("WindowNotSeen", Some(Phase::Completed)));
        assert!(warning.text.contains(says), "{}", warning.text);
        life.watch = ServedWatch::default();
        let (later, again) = life.pass(60, Err("the window is over"));
        assert_eq!((served(&later), again), (Some(("WindowNotSeen", warning.text.as_str())), None), "and it stays");
    }
}

#[test]
fn another_window_begins_with_nothing() {
    let mut life = Life::new();
    life.pass(0, Err("no"));
    assert!(served(&life.pass(30, Err("no")).0).is_some());
    life.at_ms = -10 * MINUTE;
    let (status, _) = life.pass(0, Err("the window has not begun"));
    assert_eq!((status.phase, status.unserved_seconds, served(&status)), (Some(Phase::Scheduled), None, None));
}

fn no_class() -> ReconcileError {
    ReconcileError::Class(ClassError::NotFound("main".to_owned()))
}

fn elsewhere() -> ReconcileError {
    ReconcileError::LedgerOwnedElsewhere("another cluster has it".to_owned())
}

fn open(status: &CouponCampaignStatus) -> (&str, &str, &str) {
    let open = conditions::find(&status.conditions, ConditionType::Open).unwrap();
    (open.status.as_str(), open.reason.as_str(), open.message.as_str())
}

/// Wrong: the class comes 80 s into the window, and the sale ends as if it had been open all the time.
#[test]
fn a_window_that_begins_while_the_campaign_is_not_prepared_counts_from_its_start() {
    for restarts in [false, true] {
        let mut life = Life::new();
        life.scene = Scene::new_campaign();
        life.at_ms = -60_000;
        let (status, _) = life.blind(0, &no_class());
        assert_eq!((open(&status).0, open(&status).1), ("False", "Pending"), "{status:?}");
        assert_eq!(status.unserved_seconds, None);
        // The pass at the start was late.
        let (status, _) = life.blind(62, &no_class());
        assert_eq!((status.unserved_seconds, open(&status).1), (Some(2), "ClassNotFound"));
        assert!(open(&status).2.starts_with("the window is open, and users are turned away"), "{status:?}");
        let (status, warning) = life.blind(18, &no_class());
        assert_eq!((served(&status).unwrap().0, status.unserved_seconds), ("NotServed", Some(20)));
        assert_eq!(warning.map(|warning| warning.reason), Some("UsersReachNobody"));
        let mut counted = 80;
        if restarts {
            // They got nothing before it, and after.
            life.restart();
            life.blind(10, &no_class());
            counted += 10;
        }
        let (status, _) = life.blind(60, &no_class());
        assert_eq!(status.unserved_seconds, Some(counted));
        // It comes: some seconds for topics and pods, and then coupons can be had.
        life.scene.campaign.status.as_mut().unwrap().phase = Some(Phase::Open);
        life.scene = Scene { campaign: life.scene.campaign.clone(), ..Scene::open() };
        life.pass(2, Err("they start"));
        let (status, _) = life.pass(6, Ok(()));
        assert_eq!(status.unserved_seconds, Some(counted + 8));
        let (reason, text) = served(&status).unwrap();
        assert_eq!(reason, "ServedInPart");
        assert!(text.contains("last cause: they start; for longer before that: CampaignClass `main`"), "{text}");
    }
}

/// Wrong: what was said "for good" is forgotten while another cluster has the ledger, or nothing is counted after it.
#[test]
fn what_was_counted_stays_while_another_cluster_has_the_ledger() {
    for restarts in [false, true] {
        let mut life = Life::new();
        life.pass(0, Err("no issuer pod is ready"));
        life.pass(10, Ok(()));
        for _ in 0..3 {
            let (status, warning) = life.blind(20, &elsewhere());
            assert_eq!((status.unserved_seconds, warning), (Some(10), None), "its sale is that cluster's");
            assert_eq!(served(&status).map(|(reason, _)| reason), Some("ServedInPart"));
        }
        if restarts {
            life.restart();
        }
        life.pass(5, Err("it comes back"));
        let (status, _) = life.pass(4, Ok(()));
        assert_eq!((status.unserved_seconds, served(&status).unwrap().0), (Some(14), "ServedInPart"));
    }
}

/// Wrong: a count goes on in a window that was moved, or is lost at a restart.
#[test]
fn only_another_window_begins_with_nothing() {
    for restarts in [false, true] {
        let mut life = Life::new();
        life.scene = Scene::new_campaign();
        life.blind(0, &no_class());
        assert_eq!(life.blind(30, &no_class()).0.unserved_seconds, Some(30));
        if restarts {
            life.restart();
        }
        assert_eq!(life.blind(0, &no_class()).0.unserved_seconds, Some(30));
        // It begins a quarter of a minute later.
        life.scene = life.scene.clone().starting(START + 15_000);
        let (status, _) = life.blind(2, &no_class());
        assert_eq!((status.unserved_seconds, served(&status)), (Some(2), None), "{restarts}");
    }
}

/// Wrong: of a campaign that was never prepared nobody hears that its window is over.
#[test]
fn the_end_of_a_window_that_was_never_prepared_is_told_once_and_counts_no_further() {
    let mut life = Life::new();
    life.scene = Scene::new_campaign();
    life.at_ms = END - START - 10_000;
    life.blind(0, &no_class());
    life.blind(6, &no_class());
    let (status, warning) = life.blind(60, &no_class());
    assert_eq!(status.unserved_seconds, Some(10));
    assert_eq!(warning.map(|warning| warning.reason), Some("NotServed"));
    assert_eq!(open(&status).1, "Ended");
    assert_eq!(life.blind(60, &no_class()), (status, None));
}

/// Wrong: a row of somebody else's closes the sale for a minute, and nothing is counted.
#[test]
fn a_suspension_that_nobody_asked_for_counts_and_one_that_somebody_did_does_not() {
    for (asked, expected) in [(false, Some(42)), (true, None)] {
        let mut life = Life::new();
        life.scene = life.scene.with(|scene| {
            scene.in_redis().terms.suspended = true;
            scene.foreign_row(5000);
            scene.campaign.spec.suspend = asked;
        });
        life.pass(0, Err("issuing is stopped"));
        let (status, _) = life.pass(42, Err("issuing is stopped"));
        assert_eq!((status.phase, status.unserved_seconds), (Some(Phase::Suspended), expected));
        if !asked {
            let text = served(&status).unwrap().1;
            assert!(text.contains("the database has a row of rank 5000"), "{text}");
        }
    }
}
