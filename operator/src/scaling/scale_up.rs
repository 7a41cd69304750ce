//! What became of the last step up: whether its pods are at work yet, and whether they brought anything.

use super::ScalingReason;
use super::estimates::StartUp;

/// From pods that are at work until a jump shows in the rates, in milliseconds: some readings.
const SETTLE_MS: i64 = 6_000;
/// While pods of a jump are not ready, it may still become this many times as high: its first look may have been at the first
/// tenth of a second of a rush. Each time it doubles, so there are few of these, and the group has not grown yet.
const RAISE: i32 = 2;
/// A jump that brings less than this part of what it should is in vain.
const EFFECT: f64 = 0.2;
/// How long nothing is added after a jump in vain, in milliseconds.
const FREEZE_MS: i64 = 300_000;

/// A step up that is not judged yet.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ScaleUp {
    from: i32,
    to: i32,
    at_ms: i64,
    /// Work done per second before it.
    rate: f64,
    /// Its pods are ready, so they have joined the group.
    ready: bool,
    at_work_ms: Option<i64>,
    /// There was more work than was done all the time, so new pods had something to do.
    pressed: bool,
    /// It followed the plan, not the work: it has nothing to show, and what comes next need not wait for that.
    planned: bool,
}

/// What is there at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScaleUpInputs {
    /// In milliseconds of a clock that never jumps.
    pub at_ms: i64,
    /// Pods that should be there until now.
    pub current: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// How many of these have a part in the work.
    pub at_work: i32,
    /// Work done per second.
    pub rate: f64,
    /// There is more work than is done.
    pub pressed: bool,
}

/// The last step up, and what was learned from those before.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Jumps {
    last: Option<ScaleUp>,
    frozen_until_ms: Option<i64>,
    start_up: StartUp,
}

impl Jumps {
    /// Begins with what was measured in an earlier time.
    pub(crate) fn new(start_up: StartUp) -> Self {
        Self { start_up, ..Self::default() }
    }

    /// How long pods need to start.
    pub(crate) fn start_up(&self) -> StartUp {
        self.start_up
    }

    /// Takes in what is there: notes when the pods of the last jump are at work; some time later, what it has brought.
    pub(crate) fn update(&mut self, sight: &ScaleUpInputs) {
        let Some(jump) = &mut self.last else { return };
        jump.pressed &= sight.pressed;
        if sight.current != jump.to {
            // Somebody else changed the number, or it went down: there is nothing to judge.
            self.last = None;
            return;
        }
        jump.ready |= sight.ready >= jump.to;
        if jump.at_work_ms.is_none() && sight.at_work >= jump.to {
            jump.at_work_ms = Some(sight.at_ms);
            self.start_up.update(seconds(sight.at_ms - jump.at_ms));
        }
        let jump = *jump;
        if jump.at_work_ms.is_none() || self.settling(&jump, sight.at_ms) {
            return;
        }
        self.last = None;
        let hoped = f64::from(jump.to) / f64::from(jump.from.max(1)) - 1.0;
        if jump.from > 0 && jump.pressed && jump.rate > 0.0 && sight.rate / jump.rate - 1.0 < EFFECT * hoped {
            self.frozen_until_ms = Some(sight.at_ms + FREEZE_MS);
        }
    }

    /// Notes a step up to `to` pods. One that raises a step whose pods are not ready yet is judged as one with it.
    pub(crate) fn made(&mut self, sight: &ScaleUpInputs, to: i32, why: ScalingReason) {
        let ScaleUpInputs { at_ms, pressed, .. } = *sight;
        let (from, rate) = match self.last.filter(|jump| !jump.ready) {
            Some(jump) => (jump.from, jump.rate),
            None => (sight.current, sight.rate),
        };
        self.last = Some(ScaleUp {
            from,
            to,
            at_ms,
            rate,
            ready: false,
            at_work_ms: None,
            pressed,
            planned: why == ScalingReason::Floor,
        });
    }

    /// What forbids a step up from `current` to `wanted` pods now, if anything does.
    pub(crate) fn forbid(&self, at_ms: i64, current: i32, wanted: i32) -> Option<ScalingReason> {
        if self.frozen(at_ms) {
            return Some(ScalingReason::DownstreamSaturated);
        }
        let raised = |jump: &ScaleUp| !jump.ready && wanted >= current * RAISE;
        self.last.is_some_and(|jump| self.settling(&jump, at_ms) && !raised(&jump)).then_some(ScalingReason::Settling)
    }

    /// Whether the last step up was in vain, and nothing is added for some minutes.
    pub(crate) fn frozen(&self, at_ms: i64) -> bool {
        self.frozen_until_ms.is_some_and(|until| at_ms < until)
    }

    /// Whether the pods of a jump are not at work yet. One whose pods do not start is not waited for for ever.
    fn settling(&self, jump: &ScaleUp, at_ms: i64) -> bool {
        match jump.at_work_ms {
            Some(begun) => !jump.planned && at_ms - begun < SETTLE_MS,
            None => seconds(at_ms - jump.at_ms) < 3.0 * self.start_up.seconds() + 10.0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times in a process's life")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(at_s: i64, current: i32, ready: i32, rate: f64) -> ScaleUpInputs {
        ScaleUpInputs { at_ms: at_s * 1_000, current, ready, at_work: ready, rate, pressed: true }
    }

    /// Two pods doing 100/s become four, at work after three seconds, which do `then` per second.
    fn after(then: f64) -> Jumps {
        let mut jumps = Jumps::default();
        jumps.made(&sight(0, 2, 2, 100.0), 4, ScalingReason::Demand);
        jumps.update(&sight(2, 4, 2, 100.0));
        assert_eq!(jumps.forbid(2_000, 4, 6), Some(ScalingReason::Settling), "the pods are starting");
        jumps.update(&sight(3, 4, 4, 100.0));
        assert_eq!(jumps.forbid(8_000, 4, 6), Some(ScalingReason::Settling), "they have just begun");
        jumps.update(&sight(9, 4, 4, then));
        jumps
    }

    #[test]
    fn a_jump_that_brought_something_allows_the_next() {
        assert_eq!(after(150.0).forbid(9_000, 4, 6), None);
        assert_eq!(after(150.0).start_up().seconds(), 4.4, "three seconds, after the five that were taken before");
    }

    #[test]
    fn a_jump_in_vain_freezes_for_five_minutes() {
        let jumps = after(110.0);
        assert_eq!(jumps.forbid(9_000, 4, 6), Some(ScalingReason::DownstreamSaturated));
        assert_eq!(jumps.forbid(308_000, 4, 6), Some(ScalingReason::DownstreamSaturated));
        assert_eq!(jumps.forbid(309_000, 4, 6), None);
    }

    #[test]
    fn a_jump_without_work_for_it_proves_nothing() {
        let mut jumps = Jumps::default();
        jumps.made(&sight(0, 2, 2, 100.0), 4, ScalingReason::Demand);
        jumps.update(&ScaleUpInputs { pressed: false, ..sight(3, 4, 4, 100.0) });
        jumps.update(&sight(9, 4, 4, 100.0));
        assert_eq!(jumps.forbid(9_000, 4, 6), None);
    }

    #[test]
    fn pods_of_the_plan_are_added_to_as_soon_as_they_are_at_work() {
        let mut jumps = Jumps::default();
        jumps.made(&ScaleUpInputs { pressed: false, ..sight(0, 0, 0, 0.0) }, 3, ScalingReason::Floor);
        jumps.update(&sight(2, 3, 0, 0.0));
        assert_eq!(jumps.forbid(2_000, 3, 4), Some(ScalingReason::Settling), "the pods are starting");
        jumps.update(&sight(4, 3, 3, 0.0));
        assert_eq!(jumps.forbid(4_000, 3, 4), None);
    }

    #[test]
    fn a_step_is_raised_only_until_its_pods_join() {
        let mut jumps = Jumps::default();
        jumps.made(&sight(0, 1, 1, 100.0), 2, ScalingReason::Demand);
        jumps.update(&sight(2, 2, 1, 100.0));
        assert_eq!(jumps.forbid(2_000, 2, 4), None, "twice as many, and the group has not changed yet");
        jumps.update(&ScaleUpInputs { at_work: 0, ..sight(4, 2, 2, 0.0) });
        assert_eq!(jumps.forbid(4_000, 2, 4), Some(ScalingReason::Settling), "partitions are shared out");
    }

    #[test]
    fn pods_that_never_start_are_not_waited_for_for_ever() {
        let mut jumps = Jumps::default();
        jumps.made(&sight(0, 2, 2, 100.0), 4, ScalingReason::Demand);
        jumps.update(&sight(24, 4, 3, 100.0));
        assert_eq!((jumps.forbid(24_000, 4, 6), jumps.forbid(25_000, 4, 6)), (Some(ScalingReason::Settling), None));
    }
}
