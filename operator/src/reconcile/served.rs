//! For how long of a window users could get no coupon, and that this is said for good: a sale that nobody could reach must not end as
//! if all had been well. Pure.

use jiff::{SignedDuration, Timestamp};

use super::plan::Plan;
use super::terms::time;
use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, Phase};
use crate::serving::Service;

/// What is shorter than this, in seconds, is a start or a repair, and is not said.
const SAID: i64 = 5;
/// Reasons of the condition `WindowServed`: for all of the window users could get nothing, for some of it, or nobody has seen it open.
const NOT_SERVED: &str = "NotServed";
const SERVED_IN_PART: &str = "ServedInPart";
const NOT_SEEN: &str = "WindowNotSeen";
/// Around what was known last.
const LAST: &str = "; what was known last: ";
const MOVE: &str = "; move window.start and window.end to sell after all";
/// An event says that it lasts after so many seconds in a row.
const LASTS: i64 = 10;

/// What is remembered from pass to pass. Losing it costs the time between two passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServedWatch {
    /// When the last pass found that users get nothing, in milliseconds of a clock that never jumps.
    last_ms: Option<i64>,
    /// Seconds counted so far: status is not written with every pass.
    seconds: i64,
    /// Milliseconds that make no whole second yet.
    rest_ms: i64,
    /// Since when that has been so.
    since_ms: Option<i64>,
    /// What kept users from coupons.
    cause: Option<String>,
    /// An event has said that it lasts.
    told: bool,
    /// Coupons could be had at some moment of this window.
    served: bool,
}

/// Something to say at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// A stable word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub text: String,
}

/// Whether the window is open, and users get no coupon that they should get; with the cause. What is not known is held against nobody:
/// this stays for good.
fn unserved(plan: &Plan, service: &Service, next: &CouponCampaignStatus) -> Option<String> {
    let terms = plan.in_force.unwrap_or(plan.terms);
    let in_window = (terms.start_ms..terms.end_ms).contains(&plan.now_ms);
    let open = conditions::find(&next.conditions, ConditionType::Open)?;
    let is_missed = match plan.phase {
        Phase::Open if open.status == "Unknown" => matches!(service, Service::Refuses(_)),
        Phase::Open => open.status == "False",
        Phase::Repairing => true,
        _ => false,
    };
    (in_window && is_missed).then(|| open.message.clone())
}

/// Takes in what a pass found at `at_ms`, and completes its status. Returns what an event should say.
pub(crate) fn note(
    watch: &mut ServedWatch,
    at_ms: i64,
    campaign: &CouponCampaign,
    plan: &Plan,
    service: &Service,
    next: &mut CouponCampaignStatus,
    now: Timestamp,
) -> Option<Warning> {
    let before = campaign.status.as_ref();
    let cause = unserved(plan, service, next);
    // The time since a pass that found it so; what came before that was not seen.
    let had = before.is_some_and(|before| conditions::is_true(&before.conditions, ConditionType::Open));
    watch.served |= had || conditions::is_true(&next.conditions, ConditionType::Open);
    let past = watch.last_ms.map_or(0, |last| (at_ms - last).max(0)) + watch.rest_ms;
    watch.rest_ms = past % 1000;
    watch.last_ms = cause.is_some().then_some(at_ms);
    watch.since_ms = watch.since_ms.filter(|_| cause.is_some()).or(watch.last_ms);
    let known = before.and_then(|before| before.unserved_seconds).unwrap_or(0).max(watch.seconds);
    let mut seconds = known + past / 1000;
    // Another window.
    let is_ahead = plan.now_ms < plan.terms.start_ms;
    if matches!(plan.phase, Phase::Pending) || (matches!(plan.phase, Phase::Scheduled) && is_ahead) {
        (seconds, watch.served) = (0, false);
    }
    watch.seconds = seconds;
    next.unserved_seconds = (seconds > 0).then_some(seconds);
    let lasts = watch.since_ms.is_some_and(|since| at_ms - since >= LASTS * 1000);
    watch.cause = cause.or(watch.cause.take());
    if matches!(plan.phase, Phase::Draining | Phase::Completed) && seconds < SAID {
        return passed_unseen(watch, before, campaign, plan, next, now);
    }
    if seconds < SAID {
        next.conditions.retain(|each| each.type_ != ConditionType::WindowServed.to_string());
        return None;
    }
    let report = report(watch, before, seconds, next.issued);
    say(&report, campaign, next, now);
    let was = before.and_then(|before| before.phase).unwrap_or_default();
    let has_ended =
        matches!(plan.phase, Phase::Draining | Phase::Completed) && matches!(was, Phase::Open | Phase::Repairing);
    if has_ended {
        return Some(Warning { reason: report.reason, text: report.message });
    }
    let is_new = lasts && !std::mem::replace(&mut watch.told, lasts);
    let text = || {
        format!(
            "the window is open, and users get no coupons: {}",
            watch.cause.as_deref().unwrap_or("no cause is known")
        )
    };
    is_new.then(|| Warning { reason: "UsersReachNobody", text: text() })
}

fn say(report: &Report, campaign: &CouponCampaign, next: &mut CouponCampaignStatus, now: Timestamp) {
    conditions::set(&mut next.conditions, report, campaign.metadata.generation.unwrap_or(0), now);
    // "All is well" would be said of a sale that nobody could reach.
    for ready in next.conditions.iter_mut().filter(|each| each.type_ == "Ready" && each.status == "True") {
        ready.message = format!("all is as it should be at this time; but {}", report.message);
    }
}

/// A window that is over and that no pass has found open: a wrong year, or an operator that was away for all of it.
fn passed_unseen(
    watch: &ServedWatch,
    before: Option<&CouponCampaignStatus>,
    campaign: &CouponCampaign,
    plan: &Plan,
    next: &mut CouponCampaignStatus,
    now: Timestamp,
) -> Option<Warning> {
    let told = before.and_then(|before| conditions::find(&before.conditions, ConditionType::WindowServed));
    let was = before.and_then(|before| before.phase).unwrap_or_default();
    // That Redis was open proves nothing of users. Later passes, and other processes, know no more than what was said then.
    let ends_now = !matches!(was, Phase::Draining | Phase::Completed);
    let unseen = !watch.served && (ends_now || told.is_some_and(|told| told.reason == NOT_SEEN));
    match (plan.has_opened, next.issued) {
        (Some(false), Some(0)) => {}
        (Some(true), Some(0)) if unseen => {}
        // What cannot be read now leaves what was said.
        (None, _) | (_, None) => return None,
        _ => {
            next.conditions.retain(|each| each.type_ != ConditionType::WindowServed.to_string());
            return None;
        }
    }
    let terms = plan.in_force.unwrap_or(plan.terms);
    // What was said before it ended, if anything was wrong; and what was said of that before.
    let last = || {
        let no = |condition| conditions::find(&before?.conditions, condition).filter(|found| found.status == "False");
        // Of one that was not prepared, or whose window had not begun, `Open` says no more than that.
        let open = || no(ConditionType::Open).filter(|open| !matches!(open.reason.as_str(), "Pending" | "NotStarted"));
        no(ConditionType::Ready).or_else(open).filter(|_| ends_now).map(|found| found.message.clone())
    };
    let said =
        || told.and_then(|told| told.message.split_once(LAST)?.1.rsplit_once(MOVE).map(|(cause, _)| cause.to_owned()));
    let why = match watch.cause.clone().filter(|_| ends_now).or_else(last).or_else(said) {
        Some(cause) => format!("{LAST}{cause}"),
        None => ": it was over when it was applied, or the operator was away".to_owned(),
    };
    let text =
        format!("the window ended at {}, nothing was issued, and nobody saw it open{why}{MOVE}", time(terms.end_ms));
    let report = Report::no(ConditionType::WindowServed, NOT_SEEN, text);
    let is_new = told.is_none_or(|told| told.message != report.message);
    say(&report, campaign, next, now);
    is_new.then_some(Warning { reason: NOT_SEEN, text: report.message })
}

/// A reason that was said, as one of ours.
pub(crate) fn known_reason(said: &str) -> &'static str {
    match said {
        NOT_SERVED => NOT_SERVED,
        NOT_SEEN => NOT_SEEN,
        _ => SERVED_IN_PART,
    }
}

/// What the condition `WindowServed` says.
fn report(watch: &ServedWatch, before: Option<&CouponCampaignStatus>, seconds: i64, issued: Option<i64>) -> Report {
    let said = before.and_then(|before| conditions::find(&before.conditions, ConditionType::WindowServed));
    // What the process before this one knew, too.
    let in_part = watch.served || said.is_some_and(|said| said.reason == SERVED_IN_PART);
    let never = issued == Some(0) && !in_part;
    let known = || said.and_then(|said| Some(said.message.split_once(CAUSE)?.1.to_owned()));
    let cause = watch.cause.clone().or_else(known).map(|cause| format!("{CAUSE}{cause}")).unwrap_or_default();
    let (reason, at_all) = match never {
        true => (NOT_SERVED, ", and at no time was it seen that they could"),
        false => (SERVED_IN_PART, ""),
    };
    let text = format!("for {} of the window users could get no coupon{at_all}{cause}", words(seconds));
    Report::no(ConditionType::WindowServed, reason, text)
}

const CAUSE: &str = "; the last cause: ";

/// A time in words that do not change every second.
fn words(seconds: i64) -> String {
    let step = if seconds < 120 { 5 } else { 60 };
    format!("{:#}", SignedDuration::from_secs(seconds - seconds % step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{END, HOUR, MINUTE, START};
    use crate::reconcile::scene::Scene;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    /// A campaign that passes look at, one after the other.
    struct Life {
        watch: ServedWatch,
        scene: Scene,
        at_ms: i64,
        /// What issuers say while `Open` is Unknown.
        service: Service,
    }

    impl Life {
        fn new() -> Self {
            Self { watch: ServedWatch::default(), scene: Scene::open().at(START), at_ms: 0, service: Service::Silent }
        }

        /// A pass so many seconds after the last one, which finds the window open or not.
        fn pass(&mut self, seconds: i64, open: Result<(), &str>) -> (CouponCampaignStatus, Option<Warning>) {
            self.at_ms += seconds * 1000;
            let scene = self.scene.clone().at(START + self.at_ms);
            let plan = scene.plan();
            let mut next = self.scene.campaign.status.clone().unwrap_or_default();
            next.phase = Some(plan.phase);
            next.issued = scene.observation().stock.ok().and_then(|stock| i64::try_from(stock.issued).ok());
            let open = match open {
                Ok(()) => Report::yes(ConditionType::Open, "WindowOpen", "coupons can be had"),
                Err("nobody knows") => Report::unknown(ConditionType::Open, "ConnectionFailed", "nobody knows"),
                Err(why) => Report::no(ConditionType::Open, "NoReadyIssuer", why),
            };
            for report in [open, Report::yes(ConditionType::Ready, "AsItShouldBe", "all is well")] {
                conditions::set(&mut next.conditions, &report, 1, NOW);
            }
            let service = &self.service;
            let warning = note(&mut self.watch, self.at_ms, &scene.campaign, &plan, service, &mut next, NOW);
            self.scene.campaign.status = Some(next.clone());
            (next, warning)
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
                "for 35s of the window users could get no coupon; the last cause: issuers grant nothing"
            ))
        );
        // Status is not written with every pass, and the watch shows it late.
        life.scene.campaign.status.as_mut().unwrap().unserved_seconds = None;
        assert_eq!(life.pass(2, still).0.unserved_seconds, Some(36));
        life.scene.campaign.status.as_mut().unwrap().issued = Some(3);
        assert_eq!(served(&life.pass(2, Ok(())).0).unwrap().0, "ServedInPart");
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
        assert_eq!(
            (warning.reason, served(&status)),
            ("WindowNotSeen", Some(("WindowNotSeen", warning.text.as_str())))
        );
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
}
