//! Whether users miss coupons at a moment, and by whose doing. This is the one place that decides it. Pure.
//!
//! While the window is open all time is missed in which users get no coupon, and no person asked for that:
//!
//! - A person asks for it where the object itself asks for none: by `spec.suspend`, by a quantity below what is issued, or by another
//!   start of a window that has opened and whose end is not on record.
//! - All else that keeps coupons away is missed, whoever has to mend it: what a sale needs and has not (class, Secret, tables, topics,
//!   pods), a repair, a row that somebody wrote into the table, and also a manifest that is refused as a whole, as it asks for a sale.
//! - While the coupons are another cluster's to give, or an older campaign's, they are not this object's to miss.
//! - What is not known is held against nobody: the count stays for good.

use campaign::stock::Terms;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::owner::TERMS_DIFFER;
use super::plan::Plan;
use super::terms::{self, FOREIGN_ROW, QUANTITY_BELOW_ISSUED};
use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, Phase};
use crate::class::ClassError;
use crate::error::{ReconcileError, advice};
use crate::serving::Service;

/// Reason: coupons could be had under what is decided.
const TERMS_NOT_IN_FORCE: &str = "TermsNotInForce";

/// How users are served at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Supply {
    /// Coupons can be had, or none is left, or it is not the time for them.
    Well,
    /// The object asks for none.
    NotAskedFor,
    /// The coupons are somebody else's to give.
    OfOthers,
    /// Nobody knows.
    Unknown,
    /// Users get none, and nobody asked for that.
    Missed(Cause),
}

/// What keeps users from coupons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    /// A stable word.
    pub reason: String,
    /// A sentence.
    pub text: String,
}

impl Cause {
    fn of_report(report: &Report) -> Self {
        Self { reason: report.reason.to_owned(), text: report.message.clone() }
    }

    /// Redis has other terms than what is decided. `ready`: what is wrong, if anything is.
    fn of_terms(ready: Option<&Condition>) -> Self {
        let why = ready.map_or_else(|| "they are being put right".to_owned(), |ready| ready.message.clone());
        let text = format!("Redis has other terms than those that should be in force, so users are turned away: {why}");
        Self { reason: TERMS_NOT_IN_FORCE.to_owned(), text }
    }

    fn of_condition(condition: &Condition) -> Self {
        Self { reason: condition.reason.clone(), text: condition.message.clone() }
    }
}

/// A window, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// From then on.
    pub start_ms: i64,
    /// Until then, excluded.
    pub end_ms: i64,
}

impl Window {
    fn of(terms: &Terms) -> Self {
        Self { start_ms: terms.start_ms, end_ms: terms.end_ms }
    }

    /// The window that is decided, from spec and row: what somebody writes into Redis by hand is no other window.
    pub fn of_pass(plan: &Plan, campaign: &CouponCampaign) -> Self {
        // An old ledger has a window of its own, in which nothing will be sold.
        if plan.refusals.iter().any(|each| each.reason == TERMS_DIFFER) {
            return Self::of(&terms::asked(campaign));
        }
        match plan.has_opened {
            Some(_) => Self::of(&plan.terms),
            None => Self::of_blind_pass(campaign),
        }
    }

    /// The same in a pass that could not read the row, which may hold a window that was opened before another was asked for. Status shows
    /// terms as Redis has them; one that agrees with what was counted for is believed.
    pub fn of_blind_pass(campaign: &CouponCampaign) -> Self {
        let (asked, status) = (terms::asked(campaign), campaign.status.as_ref());
        let counted_ms = status.and_then(|status| status.unserved_window_start).map(|start| start.as_millisecond());
        let is_another = |known: &Terms| known.start_ms != asked.start_ms && counted_ms != Some(asked.start_ms);
        Self::of(&terms::last_known(status).filter(is_another).unwrap_or(asked))
    }

    /// Whether it is open.
    pub fn contains(&self, now_ms: i64) -> bool {
        (self.start_ms..self.end_ms).contains(&now_ms)
    }

    /// How much of the time from `from_ms` to `to_ms` it is open.
    pub fn overlap(&self, from_ms: i64, to_ms: i64) -> i64 {
        (to_ms.min(self.end_ms) - from_ms.max(self.start_ms)).max(0)
    }
}

/// What a pass found that has looked. `next`: the status that it is about to write.
pub(crate) fn of_pass(
    campaign: &CouponCampaign,
    plan: &Plan,
    service: &Service,
    next: &CouponCampaignStatus,
) -> Supply {
    let refused = |reason: &str| plan.refusals.iter().find(|each| each.reason == reason);
    if campaign.spec.suspend || refused(QUANTITY_BELOW_ISSUED).is_some() {
        return Supply::NotAskedFor;
    }
    let Some(open) = conditions::find(&next.conditions, ConditionType::Open) else { return Supply::Unknown };
    let ready = conditions::find(&next.conditions, ConditionType::Ready).filter(|ready| ready.status == "False");
    let whole = || Supply::Missed(Cause::of_condition(ready.unwrap_or(open)));
    let as_open_says = || Supply::Missed(Cause::of_condition(open));
    match plan.phase {
        Phase::Pending if *service == Service::Grants => Supply::Well,
        Phase::Pending | Phase::Repairing => whole(),
        Phase::Suspended => match refused(FOREIGN_ROW) {
            Some(foreign) => Supply::Missed(Cause::of_report(foreign)),
            None if plan.terms.suspended => Supply::NotAskedFor,
            // Going on is asked for, and not in force yet.
            None => as_open_says(),
        },
        Phase::Open => match open.status.as_str() {
            "False" => as_open_says(),
            "Unknown" if matches!(service, Service::Refuses(_)) => as_open_says(),
            "Unknown" => Supply::Unknown,
            _ => Supply::Well,
        },
        Phase::Scheduled | Phase::SoldOut | Phase::Draining | Phase::Completed if should_sell(plan, campaign, next) => {
            Supply::Missed(Cause::of_terms(ready))
        }
        Phase::Scheduled | Phase::SoldOut | Phase::Draining | Phase::Completed => Supply::Well,
    }
}

/// Whether coupons could be had if what is decided were in force: users meet what Redis has, which may be older, or somebody else's.
fn should_sell(plan: &Plan, campaign: &CouponCampaign, next: &CouponCampaignStatus) -> bool {
    let issued = next.issued.and_then(|issued| u64::try_from(issued).ok());
    let some_left = issued.is_some_and(|issued| issued < plan.terms.total);
    let is_open = Window::of_pass(plan, campaign).contains(plan.now_ms) && !plan.time.frozen;
    is_open && some_left && !plan.terms.suspended
}

/// What is known in a pass that ended before it could look. `ready_issuers`: pods that users can reach, as Kubernetes says.
/// `service`: what these say.
pub(crate) fn of_blind_pass(
    campaign: &CouponCampaign,
    error: &ReconcileError,
    ready_issuers: i32,
    service: &Service,
) -> Supply {
    if matches!(error, ReconcileError::LedgerOwnedElsewhere(_) | ReconcileError::Class(ClassError::CouponIdTaken(_))) {
        return Supply::OfOthers;
    }
    if campaign.spec.suspend {
        return Supply::NotAskedFor;
    }
    let status = campaign.status.as_ref();
    let phase = status.and_then(|status| status.phase).unwrap_or_default();
    let total = status.and_then(|status| status.terms.as_ref()).map(|terms| terms.total_quantity);
    let none_left = status.and_then(|status| status.issued).zip(total).is_some_and(|(issued, total)| issued >= total);
    match phase {
        Phase::SoldOut | Phase::Draining | Phase::Completed => Supply::Well,
        _ if none_left => Supply::Well,
        // Nobody but us opens it again.
        Phase::Repairing => Supply::Missed(blind_cause(error)),
        _ if ready_issuers == 0 => Supply::Missed(blind_cause(error)),
        // Redis lets nobody win who asks them.
        Phase::Suspended => Supply::Unknown,
        _ => match service {
            Service::Grants => Supply::Well,
            Service::Refuses(said) => Supply::Missed(Cause { reason: NOT_SERVING.to_owned(), text: said.clone() }),
            Service::Silent => Supply::Unknown,
        },
    }
}

/// The reason where all issuers say that they grant nothing.
pub(super) const NOT_SERVING: &str = "IssuersNotServing";

fn blind_cause(error: &ReconcileError) -> Cause {
    Cause { reason: error.reason().to_owned(), text: advice(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{END, HOUR, MINUTE, START};
    use crate::reconcile::scene::Scene;

    fn of(scene: &Scene, open: Report, service: &Service) -> Supply {
        let issued = scene.observation().issued().and_then(|issued| i64::try_from(issued).ok());
        let (plan, mut next) = (scene.plan(), CouponCampaignStatus { issued, ..CouponCampaignStatus::default() });
        let now = jiff::Timestamp::UNIX_EPOCH;
        for report in [open, Report::no(ConditionType::Ready, "TopicAwaited", "a topic is awaited")] {
            conditions::set(&mut next.conditions, &report, 1, now);
        }
        of_pass(&scene.campaign, &plan, service, &next)
    }

    fn missed(supply: &Supply) -> Option<&str> {
        match supply {
            Supply::Missed(cause) => Some(cause.reason.as_str()),
            _ => None,
        }
    }

    fn suspend(scene: Scene) -> Scene {
        scene.with(|scene| scene.campaign.spec.suspend = true)
    }

    fn suspended_in_redis(scene: Scene) -> Scene {
        scene.with(|scene| scene.in_redis().terms.suspended = true)
    }

    fn foreign(scene: Scene) -> Scene {
        suspended_in_redis(scene.with(|scene| scene.foreign_row(5000)))
    }

    fn below_issued() -> Scene {
        suspended_in_redis(Scene::open().issued(10).stored(10).quantity(5))
    }

    /// Wrong: a window in which nobody was served counts one second, as the class was late (`Pending`) or somebody wrote a row
    /// (`Suspended`); or a sale that a person stopped counts as one that nobody could reach.
    #[test]
    fn time_is_missed_where_users_get_nothing_and_no_person_asked_for_that() {
        use Supply::{NotAskedFor, Unknown, Well};
        let refuses = Service::Refuses("1 RedisAway".to_owned());
        let no = || Report::no(ConditionType::Open, "NoReadyIssuer", "nobody is there");
        let yes = || Report::yes(ConditionType::Open, "WindowOpen", "coupons can be had");
        let unknown = || Report::unknown(ConditionType::Open, "ConnectionFailed", "who knows");
        let in_window = |scene: Scene| scene.at(START + HOUR);
        let moved = |scene: Scene| scene.with(|scene| scene.in_redis().terms.start_ms = END);
        let (silent, not_in_force) = (|| Service::Silent, || Err("TermsNotInForce"));
        for (what, scene, open, service, expected) in [
            ("not prepared", in_window(Scene::with_topics()), no(), Service::Silent, Err("TopicAwaited")),
            ("no row yet", in_window(Scene::new_campaign()), no(), Service::Silent, Err("TopicAwaited")),
            (
                "not prepared, suspended",
                suspend(in_window(Scene::with_topics())),
                no(),
                Service::Silent,
                Ok(NotAskedFor),
            ),
            ("status was lost, issuers grant", in_window(Scene::new_campaign()), no(), Service::Grants, Ok(Well)),
            ("before the window", Scene::prepared(), no(), Service::Silent, Ok(Well)),
            ("open, coupons can be had", Scene::open(), yes(), Service::Grants, Ok(Well)),
            ("open, nobody is there", Scene::open(), no(), Service::Silent, Err("NoReadyIssuer")),
            ("open, nobody knows", Scene::open(), unknown(), Service::Silent, Ok(Unknown)),
            ("open, issuers refuse", Scene::open(), unknown(), refuses, Err("ConnectionFailed")),
            ("open, suspension is asked for", suspend(Scene::open()), no(), Service::Silent, Ok(NotAskedFor)),
            ("a repair", Scene::open().redis_emptied(), no(), Service::Silent, Err("TopicAwaited")),
            ("a repair, suspended", suspend(Scene::open().redis_emptied()), no(), Service::Silent, Ok(NotAskedFor)),
            ("suspended", suspend(suspended_in_redis(Scene::open())), no(), Service::Silent, Ok(NotAskedFor)),
            ("going on is on its way", suspended_in_redis(Scene::open()), no(), Service::Silent, Err("NoReadyIssuer")),
            ("a foreign row", foreign(Scene::open()), no(), Service::Silent, Err("ForeignRow")),
            ("a foreign row, suspended", suspend(foreign(Scene::open())), no(), Service::Silent, Ok(NotAskedFor)),
            ("a quantity below what is issued", below_issued(), no(), Service::Silent, Ok(NotAskedFor)),
            ("sold out", Scene::open().issued(100).stored(100), no(), Service::Silent, Ok(Well)),
            ("over", Scene::completed(), no(), Service::Silent, Ok(Well)),
            ("a window that somebody has moved in Redis", moved(Scene::open()), no(), silent(), not_in_force()),
            ("which is suspended", suspend(moved(Scene::open())), no(), silent(), Ok(NotAskedFor)),
            ("a longer one is on its way", Scene::open().ending(END + HOUR).at(END), no(), silent(), not_in_force()),
            (
                "more are on their way",
                Scene::open().issued(100).stored(100).quantity(101),
                no(),
                silent(),
                not_in_force(),
            ),
        ] {
            let found = of(&scene, open, &service);
            match expected {
                Ok(expected) => assert_eq!(found, expected, "{what}"),
                Err(reason) => assert_eq!(missed(&found), Some(reason), "{what}: {found:?}"),
            }
        }
    }

    /// Wrong: a pass that ends early (no class, no Secret) leaves the window uncounted; or counts against a sale that pods may serve well.
    #[test]
    fn a_pass_that_could_not_look_counts_only_what_is_certain() {
        use Supply::{NotAskedFor, OfOthers, Unknown, Well};
        let no_class = || ReconcileError::Class(ClassError::NotFound("main".to_owned()));
        let taken = ReconcileError::Class(ClassError::CouponIdTaken("older".to_owned()));
        let elsewhere = ReconcileError::LedgerOwnedElsewhere("there".to_owned());
        let renamed = || ReconcileError::ClusterNameChanged("its own, under another name".to_owned());
        let sold = |scene: Scene| {
            scene.with(|scene| {
                let status = scene.campaign.status.get_or_insert_default();
                (status.issued, status.terms) = (Some(100), Some(crate::fixtures::terms_status(false)));
            })
        };
        for (what, scene, error, ready, expected) in [
            ("never prepared", Scene::new_campaign(), no_class(), 0, Err("ClassNotFound")),
            ("status was lost, pods run", Scene::new_campaign(), no_class(), 1, Ok(Unknown)),
            ("suspended by its manifest", suspend(Scene::new_campaign()), no_class(), 0, Ok(NotAskedFor)),
            ("prepared, and no pod", Scene::prepared(), no_class(), 0, Err("ClassNotFound")),
            ("prepared, and pods", Scene::prepared(), no_class(), 1, Ok(Unknown)),
            ("open, and no pod", Scene::open(), no_class(), 0, Err("ClassNotFound")),
            ("open, and pods", Scene::open(), no_class(), 2, Ok(Unknown)),
            ("the pass took too long", Scene::open(), ReconcileError::PassTimeout, 2, Ok(Unknown)),
            (
                "a repair took too long",
                Scene::open().was(Phase::Repairing),
                ReconcileError::PassTimeout,
                2,
                Err("PassTimeout"),
            ),
            ("sold out", Scene::open().was(Phase::SoldOut), no_class(), 0, Ok(Well)),
            ("all are given", sold(Scene::open()), no_class(), 0, Ok(Well)),
            ("over", Scene::completed(), no_class(), 0, Ok(Well)),
            ("another cluster sells", Scene::open(), elsewhere, 0, Ok(OfOthers)),
            ("an older campaign sells", Scene::new_campaign(), taken, 0, Ok(OfOthers)),
            ("this cluster has lost its name", Scene::open(), renamed(), 0, Err("ClusterNameChanged")),
            ("and its pods are there", Scene::open(), renamed(), 2, Ok(Unknown)),
            ("after the window", Scene::completed(), renamed(), 0, Ok(Well)),
        ] {
            let found = of_blind_pass(&scene.campaign, &error, ready, &Service::Silent);
            match expected {
                Ok(expected) => assert_eq!(found, expected, "{what}"),
                Err(reason) => assert_eq!(missed(&found), Some(reason), "{what}: {found:?}"),
            }
        }
    }

    /// Wrong: users are given coupons, or turned away, for as long as a class is gone, and nobody asks the issuers.
    #[test]
    fn where_nobody_can_look_the_issuers_know() {
        let refuses = Service::Refuses("1 RedisAway".to_owned());
        for (what, scene, ready, service, expected) in [
            ("they grant", Scene::open(), 1, Service::Grants, Ok(Supply::Well)),
            ("they grant, and status was lost", Scene::new_campaign(), 1, Service::Grants, Ok(Supply::Well)),
            ("they do not", Scene::open(), 1, refuses, Err("IssuersNotServing")),
            ("the last one has gone", Scene::open(), 0, Service::Grants, Err("ClassNotFound")),
            ("suspended", Scene::open().was(Phase::Suspended), 1, Service::Grants, Ok(Supply::Unknown)),
            ("a repair", Scene::open().was(Phase::Repairing), 1, Service::Grants, Err("ClassNotFound")),
        ] {
            let error = ReconcileError::Class(ClassError::NotFound("main".to_owned()));
            let found = of_blind_pass(&scene.campaign, &error, ready, &service);
            match expected {
                Ok(expected) => assert_eq!(found, expected, "{what}"),
                Err(reason) => assert_eq!(missed(&found), Some(reason), "{what}: {found:?}"),
            }
        }
    }

    /// Wrong: what somebody writes into Redis by hand is another window, and what was counted is forgotten.
    #[test]
    fn the_window_that_counts_is_what_spec_and_row_say() {
        let start = |scene: &Scene| Window::of_pass(&scene.plan(), &scene.campaign).start_ms;
        let by_hand = |scene: Scene| scene.with(|scene| scene.in_redis().terms.start_ms = START + MINUTE);
        for (what, scene, expected) in [
            ("not registered", Scene::new_campaign(), START),
            ("before the window", Scene::prepared(), START),
            ("moved before the window, and not in force yet", Scene::prepared().starting(START + HOUR), START + HOUR),
            ("moved in Redis before the window", by_hand(Scene::prepared()), START),
            ("open", Scene::open(), START),
            ("moved in Redis", by_hand(Scene::open()), START),
            ("another start is refused", Scene::open().starting(START + HOUR), START),
            ("Redis is away", Scene::open().starting(START + HOUR).redis_away(), START),
        ] {
            assert_eq!(start(&scene), expected, "{what}");
        }

        // Where the row cannot be read, status says which start was refused, and which was written by hand.
        let shown = |scene: Scene, shown_ms: i64, counted_ms: Option<i64>| {
            scene.database_away().with(|scene| {
                let status = scene.campaign.status.get_or_insert_default();
                let time = |ms| jiff::Timestamp::from_millisecond(ms).unwrap();
                let mut terms = crate::fixtures::terms_status(false);
                terms.window.start = time(shown_ms);
                (status.terms, status.unserved_window_start) = (Some(terms), counted_ms.map(time));
            })
        };
        let (by_hand, refused) = (|| by_hand(Scene::open()), || Scene::open().starting(START + HOUR));
        for (what, scene, expected) in [
            ("as it should be", shown(Scene::open(), START, None), START),
            ("by hand", shown(by_hand(), START + MINUTE, Some(START)), START),
            ("refused", shown(refused(), START, Some(START)), START),
            ("refused, nothing counted", shown(refused(), START, None), START),
        ] {
            assert_eq!(
                (start(&scene), Window::of_blind_pass(&scene.campaign).start_ms),
                (expected, expected),
                "{what}"
            );
        }
    }
}
