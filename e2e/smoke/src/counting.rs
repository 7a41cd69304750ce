//! Counts allocations.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

/// Counts what Rust allocates in this process, in all threads. librdkafka's own allocations are not among it.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The time from its beginning on.
#[derive(Debug)]
pub struct Counting(Region<'static, System>);

impl Counting {
    /// Begins now.
    pub fn begin() -> Self {
        Self(Region::new(ALLOCATOR))
    }

    /// How often something was allocated, or made larger, since.
    pub fn allocations(&self) -> f64 {
        let change = self.0.change();
        (change.allocations + change.reallocations) as f64
    }
}
