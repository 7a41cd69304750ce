//! For how much of a window users could get no coupon. Status keeps that for good: a sale that nobody could reach must not end as
//! if all had been well. Whether a moment counts, [`super::supply`] decides. Pure.

mod causes;

use jiff::{SignedDuration, Timestamp};

use self::causes::Causes;
use super::plan::terms::time;
use super::supply::{Supply, WindowMs};
use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, Phase};

/// Outages shorter than this, in seconds, are starts or repairs, and are not reported.
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
/// Between the last word of one process and the first of the next, if users get nothing before and after: as long as a lease takes that
/// expires, and a start. What is longer nobody has seen, and is not counted. In milliseconds.
const HANDED_ON_MS: i64 = 30_000;

/// What is remembered from pass to pass. Losing it costs the time since status was last written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServedWatch {
    /// The window that is counted for, by its start.
    start_ms: Option<i64>,
    /// When the last pass found that users get nothing, in milliseconds of a clock that never jumps.
    last_ms: Option<i64>,
    /// Seconds counted so far: status is not written with every pass.
    seconds: i64,
    /// Milliseconds that make no whole second yet.
    rest_ms: i64,
    /// Since when that has been so while the window is open.
    since_ms: Option<i64>,
    /// What keeps users from coupons, or kept them. What comes after the window is no cause.
    causes: Causes,
    /// The window was open at the last pass.
    was_open: bool,
    /// An event has told of the window at its end.
    end_told: bool,
    /// An event has said that it lasts.
    told: bool,
    /// Coupons could be had at some moment of this window.
    served: bool,
}

/// The moment at which a pass says what it found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassTime {
    /// By the clock that never jumps, in milliseconds.
    pub at_ms: i64,
    /// For how long what the pass found has been so, in milliseconds: a system that does not answer holds a pass up for long after it was asked.
    pub known_for_ms: i64,
    /// By the clock that the window goes by, in milliseconds since 1970.
    pub now_ms: i64,
    /// The window that users go by.
    pub window: WindowMs,
    /// For conditions.
    pub time: Timestamp,
}

impl PassTime {
    fn is_open(&self) -> bool {
        self.window.contains(self.now_ms)
    }

    fn is_ahead(&self) -> bool {
        self.now_ms < self.window.start_ms
    }

    fn is_over(&self) -> bool {
        self.now_ms >= self.window.end_ms
    }

    /// For how long the window was open since then, in milliseconds.
    fn open_since(&self, at_ms: i64) -> i64 {
        self.window.overlap(self.now_ms - (self.at_ms - at_ms).max(0), self.now_ms)
    }
}

/// Something to say at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// A stable word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub text: String,
}

impl ServedWatch {
    /// Takes in how users are served at a moment; for how many seconds of this window they were not.
    fn count(&mut self, moment: &PassTime, before: Option<&CouponCampaignStatus>, supply: &Supply) -> i64 {
        let start_ms = moment.window.start_ms;
        let of_this = before.filter(|before| {
            let counted = before.unserved_window_start.map(|start| start.as_millisecond());
            !moment.is_ahead() && counted.is_none_or(|counted| counted == start_ms)
        });
        if self.start_ms.is_some_and(|known| known != start_ms) || moment.is_ahead() {
            // Another window begins with nothing; what is the matter may go on into it.
            let causes = std::mem::take(&mut self.causes).of_next_window(self.last_ms.is_some());
            *self = Self { last_ms: self.last_ms, causes, ..Self::default() };
        } else if self.start_ms.is_none() {
            self.resume(of_this, moment, supply);
        }
        self.start_ms = Some(start_ms);
        self.served |= of_this.is_some_and(|before| conditions::is_true(&before.conditions, ConditionType::Open));
        // The time since a pass that found it so; what came before that was not seen.
        let mut past = self.last_ms.map_or(0, |last| moment.open_since(last));
        self.causes.add_time(past);
        let goes_on = self.last_ms.take().is_some();
        if let Supply::Missed(cause) = supply {
            self.last_ms = Some(moment.at_ms);
            if !moment.is_over() {
                self.causes.set_last(cause);
            }
            if !goes_on {
                // This pass found it so for the first time, and some of its time was after that.
                let since_found = moment.open_since(moment.at_ms - moment.known_for_ms);
                self.causes.add_time(since_found);
                past += since_found;
            }
        }
        let known = of_this.and_then(|before| before.unserved_seconds).unwrap_or(0).max(self.seconds);
        self.seconds = known + (past + self.rest_ms) / 1000;
        self.rest_ms = (past + self.rest_ms) % 1000;
        self.since_ms = self.last_ms.filter(|_| moment.is_open()).map(|at_ms| self.since_ms.unwrap_or(at_ms));
        self.seconds
    }

    /// What the process before this one has kept in status. Where users got nothing at its last word, and get nothing now, they got nothing
    /// in between.
    fn resume(&mut self, before: Option<&CouponCampaignStatus>, moment: &PassTime, supply: &Supply) {
        let Some(before) = before else { return };
        self.causes = Causes::of_status(&before.unserved_causes);
        let since = before.unserved_until.map(|until| (moment.now_ms - until.as_millisecond()).max(0));
        let goes_on = since.filter(|since| matches!(supply, Supply::Missed(_)) && *since <= HANDED_ON_MS);
        self.last_ms = goes_on.map(|since| moment.at_ms - since);
    }
}

/// Takes in how users are served at a moment, and completes the status that is about to be written. `has_opened`: whether the window is
/// known to have opened. Returns what an event should say.
pub(crate) fn update(
    watch: &mut ServedWatch,
    moment: &PassTime,
    campaign: &CouponCampaign,
    supply: &Supply,
    has_opened: Option<bool>,
    next: &mut CouponCampaignStatus,
) -> Option<Warning> {
    let before = campaign.status.as_ref();
    if *supply == Supply::OfOthers {
        // What was counted here stays as it is: it is the same window that comes back, or another.
        (watch.last_ms, watch.since_ms, next.unserved_until) = (None, None, None);
        return None;
    }
    let seconds = watch.count(moment, before, supply);
    watch.served |= !moment.is_ahead() && conditions::is_true(&next.conditions, ConditionType::Open);
    let counted = seconds > 0;
    let lasts = watch.last_ms.is_some() && moment.is_open();
    next.unserved_seconds = counted.then_some(seconds);
    next.unserved_until = Timestamp::from_millisecond(moment.now_ms).ok().filter(|_| lasts);
    next.unserved_causes = if counted { watch.causes.for_status() } else { Vec::new() };
    next.unserved_window_start = Timestamp::from_millisecond(moment.window.start_ms).ok().filter(|_| counted || lasts);
    let was_open = std::mem::replace(&mut watch.was_open, moment.is_open());
    let phase = next.phase.unwrap_or_default();
    let is_over = moment.is_over();
    if is_over && matches!(phase, Phase::Draining | Phase::Completed) && seconds < SAID {
        return passed_unseen(watch, moment, campaign, has_opened, next);
    }
    if seconds < SAID {
        if is_over {
            // A repair after the window: what status said at its end stays.
            return None;
        }
        next.conditions.retain(|each| each.type_ != ConditionType::WindowServed.to_string());
        return None;
    }
    let report = report(watch, before, seconds, next.issued);
    set_condition(&report, campaign, next, moment.time);
    let was_sold_out = before.is_some_and(|before| before.phase == Some(Phase::SoldOut));
    let is_known = was_sold_out || knew_the_end(before) || watch.end_told;
    let has_ended = match phase {
        Phase::Draining | Phase::Completed => is_over && !is_known,
        _ => is_over && was_open,
    };
    watch.end_told = is_over && (has_ended || is_known);
    if has_ended {
        return Some(Warning { reason: report.reason, text: report.message });
    }
    let lasts = watch.since_ms.is_some_and(|since| moment.at_ms - since >= LASTS * 1000);
    let is_new = lasts && !std::mem::replace(&mut watch.told, lasts);
    let cause = watch.causes.last().unwrap_or("no cause is known");
    is_new.then(|| Warning {
        reason: "UsersReachNobody",
        text: format!("the window is open, and users get no coupons: {cause}"),
    })
}

/// Whether the window was known to be over when this status was written: it does not end a second time, and what is wrong by then is no cause.
fn knew_the_end(status: Option<&CouponCampaignStatus>) -> bool {
    let Some(status) = status else { return false };
    match status.phase {
        Some(Phase::Draining | Phase::Completed) => true,
        // A repair within the window, and even before it, has an end ahead of it.
        Some(Phase::Repairing) => status.next_transition.is_none(),
        _ => false,
    }
}

fn set_condition(report: &Report, campaign: &CouponCampaign, next: &mut CouponCampaignStatus, now: Timestamp) {
    conditions::set(&mut next.conditions, report, campaign.metadata.generation.unwrap_or(0), now);
    // Otherwise `Ready` would say that all is well with a sale that nobody could reach.
    for ready in next.conditions.iter_mut().filter(|each| each.type_ == "Ready" && each.status == "True") {
        ready.message = format!("all is as it should be at this time; but {}", report.message);
    }
}

/// A window that is over and that no pass has found open: a wrong year, or an operator that was away for all of it.
fn passed_unseen(
    watch: &ServedWatch,
    moment: &PassTime,
    campaign: &CouponCampaign,
    has_opened: Option<bool>,
    next: &mut CouponCampaignStatus,
) -> Option<Warning> {
    let before = campaign.status.as_ref();
    let told = before.and_then(|before| conditions::find(&before.conditions, ConditionType::WindowServed));
    // That Redis was open proves nothing of users. Later passes, and other processes, know no more than what was said then.
    let ends_now = !knew_the_end(before);
    let unseen = !watch.served && (ends_now || told.is_some_and(|told| told.reason == NOT_SEEN));
    match (has_opened, next.issued) {
        (Some(false), Some(0)) => {}
        (Some(true), Some(0)) if unseen => {}
        // What cannot be read now leaves what was said.
        (None, _) | (_, None) => return None,
        _ => {
            next.conditions.retain(|each| each.type_ != ConditionType::WindowServed.to_string());
            return None;
        }
    }
    // What was said before it ended, if anything was wrong; and what was said of that before.
    let last = || {
        let no = |condition| conditions::find(&before?.conditions, condition).filter(|found| found.status == "False");
        // Of one that was not prepared, or whose window had not begun, `Open` says no more than that.
        let open = || no(ConditionType::Open).filter(|open| !matches!(open.reason.as_str(), "Pending" | "NotStarted"));
        no(ConditionType::Ready).or_else(open).filter(|_| ends_now).map(|found| found.message.clone())
    };
    let said =
        || told.and_then(|told| told.message.split_once(LAST)?.1.rsplit_once(MOVE).map(|(cause, _)| cause.to_owned()));
    let cause = watch.causes.last().map(str::to_owned).filter(|_| ends_now);
    let why = match cause.or_else(last).or_else(said) {
        Some(cause) => format!("{LAST}{cause}"),
        None => ": it was over when it was applied, or the operator was away".to_owned(),
    };
    let end = time(moment.window.end_ms);
    let text = format!("the window ended at {end}, nothing was issued, and nobody saw it open{why}{MOVE}");
    let report = Report::no(ConditionType::WindowServed, NOT_SEEN, text);
    let is_new = told.is_none_or(|told| told.message != report.message);
    set_condition(&report, campaign, next, moment.time);
    is_new.then_some(Warning { reason: NOT_SEEN, text: report.message })
}

/// The reason in an earlier status, as one of our constants.
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
    // Of a campaign that was never prepared, nothing is read.
    let never = issued.unwrap_or(0) == 0 && !in_part;
    let (reason, at_all) = match never {
        true => (NOT_SERVED, ", and at no time was it seen that they could"),
        false => (SERVED_IN_PART, ""),
    };
    let text =
        format!("for {} of the window users could get no coupon{at_all}{}", rounded(seconds), watch.causes.words());
    Report::no(ConditionType::WindowServed, reason, text)
}

/// A time in words that do not change every second.
fn rounded(seconds: i64) -> String {
    let step = match seconds {
        ..120 => 5,
        120..600 => 10,
        _ => 60,
    };
    // Up: what is said must not flatter.
    format!("{:#}", SignedDuration::from_secs((seconds + step - 1) / step * step))
}

#[cfg(test)]
mod tests;
