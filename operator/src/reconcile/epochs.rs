//! What became of a campaign's epochs. Each costs a fence, a reading of the ledger and the filling of Redis, so what no epoch mends is not
//! tried again every two seconds, whatever ends them. Pure.

use std::time::{Duration, Instant};

use crate::controller::backoff;
use crate::ledger::epoch::Opened;

/// An epoch that was served for so long was no vain one, if nobody asked for a coupon. Longer than the longest pause.
const PROVEN: Duration = Duration::from_secs(60);
/// After so many vain ones in a row the next has to prove itself before the campaign counts as well.
const DOUBTED: u32 = 3;

/// The last epoch of which it is not known whether it was of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The attempt goes on, or was given up without a word.
    Allotted,
    /// It was not opened.
    Failed,
    /// It was opened, with so many winners.
    Open { epoch: u64, winners: u64, since: Instant },
}

/// What is remembered of them. Losing it costs some epochs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EpochWatch {
    /// Epochs in a row that ended and under which nobody was given a coupon, but for the last.
    vain: u32,
    last: Option<Last>,
    /// Before this no other is allotted.
    not_before: Option<Instant>,
}

fn pause(vain: u32) -> Option<Duration> {
    (vain > 1).then(|| backoff::epoch_pause(vain))
}

impl EpochWatch {
    /// An epoch is about to be allotted, so the one before has ended.
    pub(crate) fn allotted(&mut self) {
        self.vain = self.vain.saturating_add(self.last.is_some().into());
        self.last = Some(Last::Allotted);
    }

    /// It is open. Should it end in vain as well, the next one waits, from now.
    pub(crate) fn opened(&mut self, opened: &Opened, now: Instant) {
        self.last = Some(Last::Open { epoch: opened.epoch, winners: opened.winners, since: now });
        self.wait(now);
    }

    /// An attempt has failed. Answers how long the next one is to wait, if an epoch was allotted for it.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<Duration> {
        if self.last != Some(Last::Allotted) {
            return None;
        }
        self.last = Some(Last::Failed);
        self.wait(now);
        self.left(now)
    }

    /// The attempt waits for a pod, which goes any moment: that is no failure.
    pub(crate) fn goes_on(&mut self) {
        if self.last == Some(Last::Allotted) {
            self.last = None;
        }
    }

    fn wait(&mut self, now: Instant) {
        self.not_before = pause(self.vain.saturating_add(1)).map(|pause| now + pause);
    }

    /// Takes in what a pass saw: how many have coupons, as far as that is known, and the epoch that Redis and the database serve.
    pub(crate) fn observe(&mut self, given: Option<u64>, served: Option<u64>, now: Instant) {
        let Some(Last::Open { epoch, winners, since }) = self.last else { return };
        let lasts = served == Some(epoch) && now.saturating_duration_since(since) >= PROVEN;
        if lasts || given.is_some_and(|given| given > winners) {
            *self = Self::default();
        }
    }

    /// How long ago the last one was opened, while it is not known to have been of use.
    pub(crate) fn open_for(&self, now: Instant) -> Option<Duration> {
        let Some(Last::Open { since, .. }) = self.last else { return None };
        Some(now.saturating_duration_since(since))
    }

    /// How long no epoch is to be allotted yet.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.not_before.map(|at| at.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// What is to be said of a campaign, in words that stay the same as long as the last epoch does: why the next one waits; or, while the
    /// last one `is_served`, why it is not trusted yet.
    pub(crate) fn doubt(&self, is_served: bool) -> Option<String> {
        let count = self.vain.saturating_add((!is_served && self.last.is_some()).into());
        match is_served {
            true if count >= DOUBTED => Some(format!(
                "the {count} epochs before it ended soon, and under none of them anybody was given a coupon; whether this one lasts shows \
                 with the next coupon, or within a minute"
            )),
            false if count > 1 => Some(format!(
                "the last {count} epochs ended soon, and under none of them anybody was given a coupon, so the next one waits, for up to \
                 30 s"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened(epoch: u64) -> Opened {
        Opened { epoch, winners: 10, free: 0, redis_only: 0, rebound: false, given_before: 10 }
    }

    /// Plays ten minutes of passes, one every 2 s, in which each epoch that is opened is broken before the next pass, or not. Answers how many
    /// were opened.
    fn epochs_of_ten_minutes(
        given: impl Fn(u64) -> u64,
        opens: impl Fn(u64) -> bool,
        breaks: impl Fn(u64) -> bool,
    ) -> u64 {
        let (begin, mut watch, mut epoch, mut open) = (Instant::now(), EpochWatch::default(), 0, None);
        for second in (0..600).step_by(2) {
            let now = begin + SECOND * second;
            open = open.filter(|_| !breaks(second.into()));
            watch.observe(Some(given(second.into())), open, now);
            if open.is_some() || watch.left(now).is_some() {
                continue;
            }
            watch.allotted();
            epoch += 1;
            if opens(epoch) {
                watch.opened(&opened(epoch), now);
                open = Some(epoch);
            } else {
                watch.failed(now);
            }
        }
        epoch
    }

    /// Wrong: what no epoch mends costs a full repair every two seconds, for as long as it lasts, if each of them opens.
    #[test]
    fn epochs_that_help_nobody_become_rare_whatever_ends_them() {
        let (nobody, always, never) = (|_| 10, |_| true, |_| false);
        let broken = epochs_of_ten_minutes(nobody, always, always);
        assert!((18..=32).contains(&broken), "each is opened, and broken by the first request: {broken}");
        let failed = epochs_of_ten_minutes(nobody, never, never);
        assert!((18..=32).contains(&failed), "none can be opened: {failed}");
        let both = epochs_of_ten_minutes(nobody, |epoch| epoch % 2 == 0, always);
        assert!((18..=32).contains(&both), "now this, now that: {both}");
        assert_eq!(epochs_of_ten_minutes(nobody, always, never), 1, "one that lasts needs no other");
        let served = epochs_of_ten_minutes(|second| 11 + second, always, always);
        assert_eq!(served, 300, "people are given coupons in between: nothing is held up");
        let rare = epochs_of_ten_minutes(nobody, always, |second| second % 70 == 0);
        assert_eq!(rare, 9, "each has lasted");
    }

    #[test]
    fn an_attempt_that_waits_for_a_pod_counts_for_nothing() {
        let (mut watch, now) = (EpochWatch::default(), Instant::now());
        for _ in 0..50 {
            watch.allotted();
            watch.goes_on();
            assert_eq!(watch.failed(now), None);
        }
        watch.allotted();
        assert_eq!((watch.failed(now), watch.left(now)), (None, None), "the first failure may pass");
        assert_eq!(watch.failed(now), None, "no epoch was allotted for it");
        watch.allotted();
        assert!(watch.failed(now).is_some());
        // A pass that was given up does not even say that it failed.
        watch.allotted();
        watch.allotted();
        assert!(watch.failed(now).is_some_and(|pause| pause > SECOND * 2), "{watch:?}");
    }

    /// Wrong: status says that all is well every other second, between two repairs that help nobody.
    /// Wrong: what was tried before an epoch is believed after its end, and the next one ends in the same way.
    #[test]
    fn how_long_an_epoch_was_open_is_known_until_it_was_of_use() {
        let (begin, mut watch) = (Instant::now(), EpochWatch::default());
        assert_eq!(watch.open_for(begin), None);
        watch.allotted();
        assert_eq!(watch.open_for(begin), None);
        watch.opened(&opened(1), begin);
        assert_eq!(watch.open_for(begin + SECOND), Some(SECOND));
        watch.observe(Some(10), None, begin + SECOND);
        assert_eq!(watch.open_for(begin + SECOND), Some(SECOND), "it ended in vain");
        watch.observe(Some(11), Some(1), begin + SECOND);
        assert_eq!(watch.open_for(begin + SECOND), None, "somebody won");
    }

    #[test]
    fn after_vain_ones_an_epoch_has_to_prove_itself() {
        let (mut watch, begin) = (EpochWatch::default(), Instant::now());
        for epoch in 1..=3 {
            watch.allotted();
            watch.opened(&opened(epoch), begin);
            assert_eq!(watch.doubt(true), None, "epoch {epoch}");
        }
        assert!(watch.doubt(false).is_some_and(|text| text.starts_with("the last 3 epochs ended soon")), "{watch:?}");
        watch.allotted();
        watch.opened(&opened(4), begin);
        let doubt = watch.doubt(true);
        assert!(doubt.as_ref().is_some_and(|text| text.starts_with("the 3 epochs before it")), "{doubt:?}");
        watch.observe(Some(10), Some(4), begin + SECOND * 59);
        assert_eq!(watch.doubt(true), doubt, "in the same words");
        let mut other = watch.clone();
        watch.observe(Some(11), Some(4), begin + SECOND);
        other.observe(None, Some(4), begin + SECOND * 60);
        assert_eq!((watch.doubt(true), other.doubt(true)), (None, None), "a coupon was given; or it has lasted");
    }
}
