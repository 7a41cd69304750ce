//! What a port counts.

use std::sync::PoisonError;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::SharedRegistry;

/// Which port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PortLabel {
    port: &'static str,
}

/// The counters of one port. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Connections at this moment.
    pub open: Gauge,
    /// Connections that may be open at once.
    pub bound: Gauge,
    /// Connections taken.
    pub accepted: Counter,
    /// Idle or slow ones that were closed to make room.
    pub evicted: Counter,
    /// Connections refused because every one that was open was asking or being answered.
    pub refused: Counter,
    /// Requests that did not arrive in time, and answers that were not taken in time.
    pub overdue: Counter,
    /// Times that the system gave no connection, for want of open files for example.
    pub failed: Counter,
}

/// The same counters of all ports of a process.
#[derive(Debug, Default)]
struct Families {
    open: Family<PortLabel, Gauge>,
    bound: Family<PortLabel, Gauge>,
    accepted: Family<PortLabel, Counter>,
    evicted: Family<PortLabel, Counter>,
    refused: Family<PortLabel, Counter>,
    overdue: Family<PortLabel, Counter>,
    failed: Family<PortLabel, Counter>,
}

impl Stats {
    /// Those of `ports`, in that order, registered with the label `port`.
    pub fn register<const N: usize>(registry: &SharedRegistry, ports: [&'static str; N]) -> [Self; N] {
        let families = Families::default();
        let mut all = registry.write().unwrap_or_else(PoisonError::into_inner);
        all.register("http_connections", "Connections at this moment", families.open.clone());
        all.register("http_connections_bound", "Connections that may be open at once", families.bound.clone());
        all.register("http_accepted", "Connections taken", families.accepted.clone());
        all.register("http_evicted", "Idle or slow connections closed to make room", families.evicted.clone());
        all.register("http_refused", "Connections refused for want of room", families.refused.clone());
        all.register("http_overdue", "Requests or answers that took too long", families.overdue.clone());
        all.register("http_accept_failures", "Times that no connection could be accepted", families.failed.clone());
        drop(all);
        ports.map(|port| {
            let label = PortLabel { port };
            Self {
                open: families.open.get_or_create_owned(&label),
                bound: families.bound.get_or_create_owned(&label),
                accepted: families.accepted.get_or_create_owned(&label),
                evicted: families.evicted.get_or_create_owned(&label),
                refused: families.refused.get_or_create_owned(&label),
                overdue: families.overdue.get_or_create_owned(&label),
                failed: families.failed.get_or_create_owned(&label),
            }
        })
    }
}
