//! Whether the issuers serve what the ledger has opened, and what to do when they do not. Pure.
//!
//! An issuer that met an answer it cannot trust, or was fenced beyond every epoch, stops by itself until a newer epoch opens: it
//! is alive, ready, and answers 503 to everybody. Nothing but its own word shows that. So each ready issuer is asked which epoch
//! it serves; one that says another than the open one for longer than an issuer needs to find the epoch is mended: by a new epoch
//! if no issuer serves, else by a new pod.

use std::collections::BTreeMap;

use coupon_core::contract::control::reason;
use coupon_core::contract::deadlines;
use coupon_ledger::redis::says_missing_right;

pub(crate) use crate::issuer_client::counts::Answers;
use crate::issuer_client::pressure::Pressure;

/// Within this time an issuer finds an epoch that was opened, in milliseconds: it asks the database twice a second, and a busy one
/// may need some tries.
const SETTLED_MS: i64 = 4_000;
const _: () = assert!(
    SETTLED_MS.unsigned_abs()
        >= deadlines::millis(deadlines::EPOCH_POLL_PAUSE) + deadlines::millis(deadlines::EPOCH_READ),
    "an issuer needs longer to find an epoch"
);
/// One that says itself that it needs a new epoch is given this long, in milliseconds.
const BROKEN_MS: i64 = 1_000;
/// And one that others outdo for this long, in milliseconds, is replaced.
const ALONE_MS: i64 = 15_000;
/// For so long an issuer that said that it grants is taken to do so without saying it again, in milliseconds.
const HEARD_MS: i64 = 5_000;
/// Issuers that grant nothing for so long, though all that they need is there, do not work, in milliseconds.
const LONG_MS: i64 = 10_000;
/// Pause after the first mend, in milliseconds; each further one in a row doubles it.
const PAUSE_MS: i64 = 10_000;
/// Longest pause between mends, in milliseconds.
const LONGEST_PAUSE_MS: i64 = 300_000;
/// After this long without trouble, in milliseconds, the next mend is the first again.
const FORGIVEN_MS: i64 = 60_000;

/// What SQL says, while Redis serves the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epochs {
    /// The highest ever allotted.
    pub allotted: u64,
    /// The open one.
    pub open: u64,
}

/// What is to be done about issuers that do not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Serving,
    /// Nothing yet: they may find the epoch, or wait for something that a new epoch does not bring. With the cause in words
    /// once it lasts.
    Waiting(Option<String>),
    /// A new epoch, since none of them serves.
    NewEpoch(String),
    /// These pods are to be replaced, by UID.
    Replace(Vec<String>, String),
}

impl Verdict {
    /// Whether it is worth looking again soon.
    pub(crate) fn is_open_question(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// Why users cannot get coupons, if they cannot: no issuer serves.
    pub(crate) fn nobody_serves(&self) -> Option<&str> {
        match self {
            Self::Waiting(Some(cause)) | Self::NewEpoch(cause) => Some(cause),
            _ => None,
        }
    }
}

/// What is known of the open epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenEpoch {
    /// SQL says so; `None`: nothing is open.
    Recorded(Option<u64>),
    /// SQL cannot be read. It was this one, and may be a later one by now: issuers find it by themselves.
    AtLeast(u64),
}

impl OpenEpoch {
    fn may_be(self, epoch: u64) -> bool {
        match self {
            Self::Recorded(open) => open == Some(epoch),
            Self::AtLeast(last) => epoch >= last,
        }
    }
}

/// Whether users are granted coupons, as far as the issuers say so themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Service {
    /// At least one grants under the open epoch.
    Grants,
    /// All that answer grant nothing, or under another epoch; in words.
    Refuses(String),
    /// None answers.
    Silent,
}

/// What is remembered of a campaign's issuers. Losing it costs some seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServingWatch {
    /// When one last said that it grants, in milliseconds.
    heard_ms: Option<i64>,
    /// Since when all that answer grant nothing though they could, in milliseconds.
    refuses_ms: Option<i64>,
    /// That has been so for long.
    refuses_long: bool,
    /// Since when each pod has not served, by UID, in milliseconds.
    since: BTreeMap<String, i64>,
    /// When the last mend was, and how many there were in a row.
    mended: Option<(i64, u32)>,
}

impl ServingWatch {
    /// Takes what the ready issuers say at `at_ms`, by a clock that never jumps. `epochs` is `None` while nothing is open or
    /// it could not be read: then nobody is judged.
    pub(crate) fn observe(&mut self, at_ms: i64, epochs: Option<Epochs>, answers: &Answers) -> Verdict {
        let Some(epochs) = epochs else {
            self.since.clear();
            return Verdict::Serving;
        };
        // One that does not answer is the probes' to judge; it serves or not, nobody knows.
        let silent: BTreeMap<&String, &Pressure> = answers
            .iter()
            .filter_map(|(uid, answer)| Some((uid, answer.as_ref()?)))
            .filter(|(_, pressure)| pressure.epoch != Some(epochs.open))
            .collect();
        self.since.retain(|uid, _| silent.contains_key(uid));
        for uid in silent.keys() {
            self.since.entry((*uid).clone()).or_insert(at_ms);
        }
        if silent.is_empty() {
            if self.mended.is_some_and(|(last, _)| at_ms - last > FORGIVEN_MS) {
                self.mended = None;
            }
            return Verdict::Serving;
        }
        let lasts = |uid: &str, millis: i64| self.since.get(uid).is_some_and(|since| at_ms - since >= millis);
        let beyond = |pressure: &Pressure| pressure.floor > epochs.allotted.saturating_add(1);
        let lost: Vec<String> = silent
            .iter()
            .filter(|(uid, p)| beyond(p) && lasts(uid, SETTLED_MS))
            .map(|(uid, _)| (*uid).clone())
            .collect();
        if !lost.is_empty() {
            let text = format!("{} issuers were told to wait for an epoch that was never allotted", lost.len());
            return self.mend(at_ms, Verdict::Replace(lost, text));
        }
        let nobody_serves = silent.len() == answers.len();
        let cause = cause(silent.values().copied());
        if nobody_serves {
            let patience = |pressure: &Pressure| if is_broken(pressure) { BROKEN_MS } else { SETTLED_MS };
            if !silent.iter().all(|(uid, pressure)| lasts(uid, patience(pressure))) {
                return Verdict::Waiting(None);
            }
            return match silent.values().any(|pressure| is_mendable(pressure)) {
                true => self.mend(at_ms, Verdict::NewEpoch(cause)),
                false => Verdict::Waiting(Some(cause)),
            };
        }
        let alone: Vec<String> = silent
            .iter()
            .filter(|(uid, pressure)| is_mendable(pressure) && lasts(uid, ALONE_MS))
            .map(|(uid, _)| (*uid).clone())
            .collect();
        match alone.is_empty() {
            true => Verdict::Waiting(None),
            false => self.mend(at_ms, Verdict::Replace(alone, cause)),
        }
    }

    /// Whether somebody grants at `at_ms`, under an epoch that is `open`, as far as that is known. One word is good for some
    /// seconds: a busy issuer may be late with its next. `could_grant`: database and Redis are seen to serve the open epoch.
    pub(crate) fn service(&mut self, at_ms: i64, open: OpenEpoch, could_grant: bool, answers: &Answers) -> Service {
        let serves = |pressure: &Pressure| pressure.epoch.is_some_and(|epoch| open.may_be(epoch));
        // It serves the epoch, and may meet a Redis that lets it do nothing.
        let grants = |pressure: &Pressure| serves(pressure) && pressure.failing.is_none();
        let heard: Vec<&Pressure> = answers.values().flatten().collect();
        if heard.iter().any(|pressure| grants(pressure)) {
            self.heard_ms = Some(at_ms);
            (self.refuses_ms, self.refuses_long) = (None, false);
            return Service::Grants;
        }
        if !heard.is_empty() {
            self.heard_ms = None;
            // An outage, and a repair, end without them; from then on they have the same time as ever.
            self.refuses_ms = could_grant.then(|| self.refuses_ms.unwrap_or(at_ms));
            self.refuses_long = self.refuses_ms.is_some_and(|since| at_ms - since >= LONG_MS);
            return Service::Refuses(cause(heard.into_iter()));
        }
        match self.heard_ms {
            Some(heard_ms) if at_ms - heard_ms < HEARD_MS => Service::Grants,
            _ => Service::Silent,
        }
    }

    /// Whether all issuers have granted nothing for so long, though they could, that nothing is lost by replacing them.
    pub(crate) fn refuses_long(&self) -> bool {
        self.refuses_long
    }

    /// The mend, unless the last one was too short ago: what a mend does not help is not mended every few seconds.
    fn mend(&mut self, at_ms: i64, mend: Verdict) -> Verdict {
        if let Some((last, times)) = self.mended {
            let doubled = PAUSE_MS.saturating_mul(1 << times.saturating_sub(1).min(8));
            if at_ms - last < doubled.min(LONGEST_PAUSE_MS) {
                return Verdict::Waiting(mend.nobody_serves().map(str::to_owned));
            }
        }
        let times = self.mended.map_or(0, |(_, times)| times);
        self.mended = Some((at_ms, times.saturating_add(1)));
        mend
    }
}

/// Whether a new epoch, or a new pod, helps: not while it waits for the database or for Redis. An issuer of an older version
/// does not say why it waits.
fn is_mendable(pressure: &Pressure) -> bool {
    !matches!(
        pressure.reason.as_deref(),
        Some(reason::DATABASE_AWAY | reason::REDIS_AWAY | reason::STARTING | reason::UNKNOWN_CAMPAIGN)
    )
}

/// Whether it says itself that it serves no more before a new epoch.
fn is_broken(pressure: &Pressure) -> bool {
    matches!(pressure.reason.as_deref(), Some(reason::REDIS_KEYS_BROKEN))
}

/// What the issuers say of a right in Redis that is missing, if one does.
pub(crate) fn right_missing(answers: &Answers) -> Option<&str> {
    let mut said = answers.values().flatten().filter_map(|pressure| pressure.failing.as_deref());
    said.find(|words| says_missing_right(words))
}

/// Kafka's words to an issuer that it does not let write, if there is one.
pub(crate) fn kafka_refuses(answers: &Answers) -> Option<&str> {
    answers.values().flatten().find_map(|pressure| pressure.kafka_refuses.as_deref())
}

/// The issuers' own words.
fn cause<'a>(silent: impl Iterator<Item = &'a Pressure>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for pressure in silent {
        // Why it is closed, and what it met before: the second may be the cause of the first.
        let said: Vec<&str> = pressure.reason.iter().chain(&pressure.failing).map(String::as_str).collect();
        *counts.entry(said.join(", ")).or_default() += 1;
    }
    let named = |reason: String| if reason.is_empty() { "no reason given".to_owned() } else { reason };
    let list: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {}", named(reason))).collect();
    format!("issuers are ready and grant nothing ({}); users hear 503", list.join(", "))
}

#[cfg(test)]
mod tests;
