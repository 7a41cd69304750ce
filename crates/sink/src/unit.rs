//! What is written in one transaction, and what is put off.

use coupon_core::event::CouponIssued;
use coupon_core::position::Position;
use coupon_ledger::database::LoggedWinner;

use crate::queue::Record;

/// Records and what they say, in step.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    /// The records.
    pub(crate) records: Vec<Record>,
    /// The winner of each.
    pub(crate) winners: Vec<LoggedWinner>,
}

impl Unit {
    pub(crate) fn rows(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn push(&mut self, record: Record, event: CouponIssued) {
        let position = Position { partition: record.partition(), offset: record.offset() };
        self.records.push(record);
        self.winners.push(LoggedWinner { event, position });
    }

    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        Self { records: self.records.split_off(at), winners: self.winners.split_off(at) }
    }

    /// Drops what belongs to partitions that are not ours any more.
    pub(crate) fn retain_wanted(&mut self) {
        if Record::all_wanted(&self.records) {
            return;
        }
        let pairs = self.records.drain(..).zip(self.winners.drain(..)).filter(|(record, _)| record.is_wanted());
        (self.records, self.winners) = pairs.collect::<Vec<_>>().into_iter().unzip();
    }
}

/// Records of ranks above the total, and when they are tried again.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(crate) unit: Unit,
    pub(crate) again: tokio::time::Instant,
}

impl Default for Deferred {
    fn default() -> Self {
        Self { unit: Unit::default(), again: tokio::time::Instant::now() }
    }
}
