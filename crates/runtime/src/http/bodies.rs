//! The memory that bodies have together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::limits::FREE_BODY;

/// Bytes that all bodies of a port may hold at once, beyond the first KiB of each. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    left: Arc<AtomicUsize>,
}

impl BodyBudget {
    /// One of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// The part of a body that is about to be read; nothing yet.
    pub fn reserve(&self) -> Reserved {
        Reserved { budget: self.clone(), read: 0, taken: 0 }
    }
}

/// What one body has of the budget; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: BodyBudget,
    read: usize,
    taken: usize,
}

impl Reserved {
    /// Counts `bytes` more of this body; whether there is room for them.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> bool {
        self.read = self.read.saturating_add(bytes);
        let more = self.read.saturating_sub(FREE_BODY) - self.taken;
        let taken = self.budget.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(more));
        if taken.is_ok() {
            self.taken += more;
        }
        taken.is_ok()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.taken, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_share_and_small_ones_always_fit() {
        let budget = BodyBudget::new(3_000);
        let (mut one, mut two) = (budget.reserve(), budget.reserve());
        assert!(one.take(1024) && one.take(2_000), "2,000 of 3,000 are in use");
        assert!(!two.take(1024 + 1_001), "there are but 1,000 left");
        let mut small: Vec<_> = (0..1_000).map(|_| budget.reserve()).collect();
        assert!(small.iter_mut().all(|body| body.take(100)), "nobody is refused what was asked for");
        drop(one);
        let mut three = budget.reserve();
        assert!(three.take(1024 + 3_000), "what is over is given back, and what was refused was never taken");
    }
}
