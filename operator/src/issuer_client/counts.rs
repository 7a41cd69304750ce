//! What issuers report.

use std::collections::BTreeMap;

pub(crate) use coupon_core::contract::Pressure;

use crate::scaling::issuers::Load;

/// The last counts of each pod, by UID, and when they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub(crate) at_ms: i64,
    pub(crate) pods: BTreeMap<String, Pressure>,
}

impl Counts {
    /// Updates the counts with what the pods report at `at_ms`, in milliseconds of a clock that never jumps. Rates need two reports; the
    /// pods that were there both times count.
    pub fn update(&mut self, at_ms: i64, pods: BTreeMap<String, Pressure>) -> Option<Load> {
        let millis = at_ms - self.at_ms;
        if pods.is_empty() || (millis < CLOSEST_MS && !self.pods.is_empty()) {
            return None;
        }
        let before = std::mem::replace(self, Self { at_ms, pods });
        if before.pods.is_empty() || millis > STALE_MS {
            return None;
        }
        let mut load = Load::default();
        let per_second = |now: u64, before: u64| {
            #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
            let rate = now.saturating_sub(before) as f64 * 1000.0 / millis as f64;
            rate
        };
        for (uid, now) in &self.pods {
            if let Some(before) = before.pods.get(uid) {
                load.answered += per_second(now.answered, before.answered);
                load.rejected += per_second(now.rejected + now.refused, before.rejected + before.refused);
                load.delayed += per_second(now.delayed, before.delayed);
            }
            #[expect(clippy::cast_precision_loss, reason = "lengths of queues")]
            let fill = now.queue_depth as f64 / now.queue_capacity.max(1) as f64;
            load.fill = load.fill.max(fill);
        }
        Some(load)
    }
}

/// Counts closer together than this, in milliseconds, say nothing about rates.
pub(crate) const CLOSEST_MS: i64 = 500;

/// Counts further apart than this, in milliseconds, are not compared.
pub(crate) const STALE_MS: i64 = 30_000;

/// A ready issuer, by UID, with what it answered; `None`: nothing.
pub(crate) type Answers = BTreeMap<String, Option<Pressure>>;
