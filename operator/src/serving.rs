//! Whether the issuers serve what the ledger has opened, and what to do when they do not. Pure.
//!
//! An issuer that met an answer it cannot trust, or was fenced beyond every epoch, stops by itself until a newer epoch opens: it
//! is alive, ready, and answers 503 to everybody. Nothing but its own word shows that. So each ready issuer is asked which epoch
//! it serves; one that says another than the open one for longer than an issuer needs to find the epoch is mended: by a new epoch
//! if no issuer serves, else by a new pod.

use std::collections::BTreeMap;

use campaign::deadlines;
use campaign::stock::says_missing_right;

use crate::pressure::Pressure;
pub use crate::pressure_counts::Answers;

/// Within this time an issuer finds an epoch that was opened, in milliseconds: it asks the database twice a second, and a busy one
/// may need some tries.
const SETTLED_MS: i64 = 4_000;
const _: () = assert!(
    SETTLED_MS.unsigned_abs() >= deadlines::millis(deadlines::LOOK_PAUSE) + deadlines::millis(deadlines::LOOK),
    "an issuer needs longer to find an epoch"
);
/// One that says itself that it needs a new epoch is given this long, in milliseconds.
const BROKEN_MS: i64 = 1_000;
/// And one that others outdo for this long, in milliseconds, is replaced.
const ALONE_MS: i64 = 15_000;
/// For so long an issuer that said that it grants is taken to do so without saying it again, in milliseconds.
const HEARD_MS: i64 = 5_000;
/// Issuers that grant nothing for so long do not work, in milliseconds.
const LONG_MS: i64 = 10_000;
/// Pause after the first mend, in milliseconds; each further one in a row doubles it.
const PAUSE_MS: i64 = 10_000;
/// Longest pause between mends, in milliseconds.
const LONGEST_PAUSE_MS: i64 = 300_000;
/// After this long without trouble, in milliseconds, the next mend is the first again.
const FORGIVEN_MS: i64 = 60_000;

/// What SQL says, while Redis serves the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    /// The highest ever allotted.
    pub allotted: u64,
    /// The open one.
    pub open: u64,
}

/// What is to be done about issuers that do not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
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
    pub fn is_open_question(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// Why users cannot get coupons, if they cannot: no issuer serves.
    pub fn nobody_serves(&self) -> Option<&str> {
        match self {
            Self::Waiting(Some(cause)) | Self::NewEpoch(cause) => Some(cause),
            _ => None,
        }
    }
}

/// What is known of the open epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// SQL says so; `None`: nothing is open.
    InSql(Option<u64>),
    /// SQL cannot be read. It was this one, and may be a later one by now: issuers find it by themselves.
    AtLeast(u64),
}

impl Known {
    fn may_be(self, epoch: u64) -> bool {
        match self {
            Self::InSql(open) => open == Some(epoch),
            Self::AtLeast(last) => epoch >= last,
        }
    }
}

/// Whether users are granted coupons, as far as the issuers say so themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// At least one grants under the open epoch.
    Grants,
    /// All that answer grant nothing, or under another epoch; in words.
    Refuses(String),
    /// None answers.
    Silent,
}

/// What is remembered of a campaign's issuers. Losing it costs some seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServingWatch {
    /// When one last said that it grants, in milliseconds.
    heard_ms: Option<i64>,
    /// Since when all that answer grant nothing, in milliseconds.
    refuses_ms: Option<i64>,
    /// That has been so for long.
    refuses_long: bool,
    /// Since when each pod has not served, by UID, in milliseconds.
    since: BTreeMap<String, i64>,
    /// When the last mend was, and how many there were in a row.
    mended: Option<(i64, u32)>,
}

impl ServingWatch {
    /// Takes in what the ready issuers say at `at_ms`, by a clock that never jumps. `epochs` is `None` while nothing is open or
    /// it could not be read: then nobody is judged.
    pub fn see(&mut self, at_ms: i64, epochs: Option<Epochs>, answers: &Answers) -> Verdict {
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

    /// Whether somebody grants at `at_ms`, under an epoch that `is_open`, as far as that is known. One word is good for some
    /// seconds: a busy issuer may be late with its next.
    pub fn service(&mut self, at_ms: i64, open: Known, answers: &Answers) -> Service {
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
            self.refuses_long = at_ms - *self.refuses_ms.get_or_insert(at_ms) >= LONG_MS;
            return Service::Refuses(cause(heard.into_iter()));
        }
        match self.heard_ms {
            Some(heard_ms) if at_ms - heard_ms < HEARD_MS => Service::Grants,
            _ => Service::Silent,
        }
    }

    /// Whether all issuers have granted nothing for so long that nothing is lost by replacing them.
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
    !matches!(pressure.reason.as_deref(), Some("DatabaseAway" | "RedisAway" | "Starting" | "UnknownCampaign"))
}

/// Whether it says itself that it serves no more before a new epoch.
fn is_broken(pressure: &Pressure) -> bool {
    matches!(pressure.reason.as_deref(), Some("StockBroken"))
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
mod tests {
    use super::*;

    const EPOCHS: Option<Epochs> = Some(Epochs { allotted: 5, open: 5 });

    fn pod(epoch: Option<u64>, floor: u64, reason: &str) -> Option<Pressure> {
        let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        Some(Pressure { epoch, floor, reason, ..Pressure::default() })
    }

    fn answers(pods: &[(&str, Option<Pressure>)]) -> Answers {
        pods.iter().map(|(uid, answer)| ((*uid).to_owned(), answer.clone())).collect()
    }

    /// What each moment brings, of a watch that sees the same all the time.
    fn verdicts(pods: &[(&str, Option<Pressure>)], at: &[i64]) -> Vec<Verdict> {
        let mut watch = ServingWatch::default();
        at.iter().map(|at_ms| watch.see(*at_ms, EPOCHS, &answers(pods))).collect()
    }

    #[test]
    fn who_serves_is_left_alone_and_who_has_just_been_fenced_too() {
        let serving = pod(Some(5), 5, "");
        assert_eq!(
            verdicts(&[("a", serving.clone()), ("b", serving)], &[0, 60_000]),
            [Verdict::Serving, Verdict::Serving]
        );
        assert_eq!(
            verdicts(&[("a", pod(None, 5, "Fenced"))], &[0, 3_900]),
            [Verdict::Waiting(None), Verdict::Waiting(None)]
        );
        assert_eq!(
            verdicts(&[("a", None)], &[0, 60_000]),
            [Verdict::Serving, Verdict::Serving],
            "the probes judge that"
        );
        assert_eq!(verdicts(&[], &[0, 60_000]), [Verdict::Serving, Verdict::Serving]);
    }

    /// Wrong: coupons are said to be had because nobody denies it.
    #[test]
    fn somebody_grants_only_if_an_issuer_says_so() {
        let (serving, fenced) = (pod(Some(5), 5, ""), pod(None, 6, "Fenced"));
        let failing = serving.clone().map(|pod| Pressure { failing: Some("NOPERM evalsha".to_owned()), ..pod });
        let mut watch = ServingWatch::default();
        for (what, at_ms, open, pods, expected) in [
            ("nobody was asked yet", 0, Known::InSql(Some(5)), vec![], Some(Service::Silent)),
            (
                "one grants",
                1_000,
                Known::InSql(Some(5)),
                vec![("a", serving.clone()), ("b", fenced.clone())],
                Some(Service::Grants),
            ),
            ("it is late", 5_000, Known::InSql(Some(5)), vec![("a", None)], Some(Service::Grants)),
            ("it stays silent", 6_000, Known::InSql(Some(5)), vec![("a", None)], Some(Service::Silent)),
            (
                "the database cannot say what is open",
                7_000,
                Known::AtLeast(4),
                vec![("a", serving.clone())],
                Some(Service::Grants),
            ),
            ("nor that a repair went past it", 7_500, Known::AtLeast(6), vec![("a", serving.clone())], None),
            ("another epoch is open", 8_000, Known::InSql(Some(6)), vec![("a", serving.clone())], None),
            ("it has said that it does not", 8_001, Known::InSql(Some(6)), vec![("a", None)], Some(Service::Silent)),
            ("it serves it, and Redis lets it do nothing", 8_500, Known::InSql(Some(5)), vec![("a", failing)], None),
            ("none grants", 9_000, Known::InSql(Some(5)), vec![("a", fenced), ("b", None)], None),
        ] {
            let found = watch.service(at_ms, open, &answers(&pods));
            match expected {
                Some(expected) => assert_eq!(found, expected, "{what}"),
                None => assert!(matches!(&found, Service::Refuses(text) if text.contains("503")), "{what}: {found:?}"),
            }
        }
    }

    /// Wrong: a right that is missing breaks the campaign, and all that is said is that it is closed.
    #[test]
    fn what_an_issuer_met_is_said_beside_what_became_of_it() {
        let words = "Redis does not let the user run ZADD, which issue.lua needs";
        let closed = pod(None, 5, "Closed").map(|pod| Pressure { failing: Some(words.to_owned()), ..pod });
        let away =
            pod(None, 5, "RedisAway").map(|pod| Pressure { failing: Some("Connection refused".to_owned()), ..pod });
        let both = answers(&[("a", closed.clone()), ("b", closed), ("c", None)]);
        let service = ServingWatch::default().service(0, Known::InSql(None), &both);
        assert!(
            matches!(&service, Service::Refuses(text) if text.contains(&format!("(2 Closed, {words})"))),
            "{service:?}"
        );
        assert_eq!(right_missing(&both), Some(words));
        assert_eq!(right_missing(&answers(&[("a", away), ("b", pod(Some(5), 5, "")), ("c", None)])), None);
    }

    /// Wrong: issuers whose password was changed keep their old one until the window ends, as they are "ready".
    #[test]
    fn issuers_that_get_nothing_out_of_redis_do_not_work_after_a_while() {
        let failing = pod(Some(5), 5, "").map(|pod| Pressure { failing: Some("WRONGPASS".to_owned()), ..pod });
        let (failing, well) = (answers(&[("a", failing)]), answers(&[("a", pod(Some(5), 5, ""))]));
        let mut watch = ServingWatch::default();
        for (at_ms, pods, expected) in [
            (0, &failing, false),
            (9_999, &failing, false),
            (10_000, &failing, true),
            (10_001, &well, false),
            (11_000, &failing, false),
        ] {
            watch.service(at_ms, Known::InSql(Some(5)), pods);
            assert_eq!(watch.refuses_long(), expected, "{at_ms}");
        }
    }

    #[test]
    fn when_nobody_serves_a_new_epoch_is_opened_within_five_seconds() {
        for reason in ["StockBroken", "Fenced", "StockClosed", "StockBehind", ""] {
            let verdicts =
                verdicts(&[("a", pod(None, 6, reason)), ("b", pod(None, 6, reason))], &[0, 1_000, 4_000, 6_000]);
            let at = if reason == "StockBroken" { 1 } else { 2 };
            assert!(matches!(&verdicts[at], Verdict::NewEpoch(text) if text.contains("503")), "{reason}: {verdicts:?}");
            assert!(matches!(&verdicts[3], Verdict::Waiting(Some(_))), "{reason}: not again at once, and not silent");
        }
        let other = verdicts(&[("a", pod(Some(4), 4, ""))], &[0, 4_000]);
        assert!(matches!(other[1], Verdict::NewEpoch(_)), "an epoch that is not open is not served rightly");
    }

    #[test]
    fn what_a_new_epoch_does_not_bring_is_waited_for_and_said() {
        for reason in ["DatabaseAway", "RedisAway", "Starting"] {
            let verdicts = verdicts(&[("a", pod(None, 5, reason))], &[0, 4_000, 600_000]);
            for verdict in &verdicts[1..] {
                assert!(verdict.nobody_serves().is_some_and(|text| text.contains(reason)), "{verdict:?}");
                assert!(matches!(verdict, Verdict::Waiting(_)), "{verdict:?}");
            }
        }
        let mut watch = ServingWatch::default();
        let broken = answers(&[("a", pod(None, 6, "StockBroken"))]);
        assert_eq!(watch.see(0, None, &broken), Verdict::Serving);
        assert_eq!(watch.see(10_000, None, &broken), Verdict::Serving, "nothing is open: nobody is judged");
        assert_eq!(watch.see(10_001, EPOCHS, &broken), Verdict::Waiting(None), "and time counts from then");
    }

    #[test]
    fn one_of_several_is_replaced_and_the_others_go_on() {
        let pods = [("a", pod(Some(5), 5, "")), ("b", pod(None, 6, "StockBroken"))];
        let found = verdicts(&pods, &[0, 14_000, 15_000]);
        assert_eq!(found[..2], [Verdict::Waiting(None), Verdict::Waiting(None)]);
        assert!(matches!(&found[2], Verdict::Replace(uids, _) if uids == &["b"]), "{found:?}");
        assert_eq!(found[2].nobody_serves(), None, "users are served");
    }

    #[test]
    fn a_pod_that_waits_for_an_epoch_that_nobody_allotted_is_replaced() {
        // No epoch can be opened above such a floor, and the floor of a process never falls.
        let pods = [("a", pod(None, u64::MAX, "Fenced")), ("b", pod(Some(5), 5, ""))];
        let found = verdicts(&pods, &[0, 4_000]);
        assert!(matches!(&found[1], Verdict::Replace(uids, _) if uids == &["a"]), "{found:?}");
    }

    #[test]
    fn mends_that_do_not_help_become_rare() {
        let mut watch = ServingWatch::default();
        let broken = answers(&[("a", pod(None, 6, "StockBroken"))]);
        let hour = 1800;
        let mends = (0..hour).filter(|tick| matches!(watch.see(tick * 2_000, EPOCHS, &broken), Verdict::NewEpoch(_)));
        assert_eq!(mends.count(), 16, "in an hour");
        let serving = answers(&[("a", pod(Some(5), 5, ""))]);
        watch.see(hour * 2_000 + FORGIVEN_MS * 6, EPOCHS, &serving);
        watch.see(hour * 2_000 + FORGIVEN_MS * 6 + 1, EPOCHS, &broken);
        let again = watch.see(hour * 2_000 + FORGIVEN_MS * 6 + 3_000, EPOCHS, &broken);
        assert!(matches!(again, Verdict::NewEpoch(_)), "after a quiet time the first mend comes at once");
    }
}
