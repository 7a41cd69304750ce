//! What a campaign's pods connect to.

use coupon_core::connections::Connections;

use crate::class::measure::System;

/// What a campaign's pods connect to. Losing it costs one request and one event.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodConnections {
    /// As the Secret beside them says.
    pub connections: Option<Connections>,
    /// The systems whose new settings wait, as far as an event was published for it.
    pub(crate) waiting: Vec<System>,
    /// Why pods do not get what the class says, if they do not.
    pub unproven: Option<String>,
}
