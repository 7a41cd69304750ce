//! What pods have.

use crate::measure::System;
use campaign::settings::Connections;

/// What pods have.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// As the Secret beside them says.
    pub connections: Option<Connections>,
    /// The systems whose new settings were said to wait.
    pub(crate) told: Vec<System>,
    /// Why pods do not get what the class says, if they do not.
    pub unproven: Option<String>,
}
