//! One table of what is taken and what is refused. Both tests run all of it: without a server, and against a real one.

mod authentication;
mod campaign;
pub(crate) mod case;
mod class;
mod rate_limits;
mod routing;

use self::authentication::class_authentication;
use self::campaign::{campaign_creates, campaign_updates};
use self::case::Case;
use self::class::{class_creates, class_names, class_updates};
use self::rate_limits::class_rate_limits;
use self::routing::class_routing;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = campaign_creates();
    cases.extend(campaign_updates());
    cases.extend(class_creates());
    cases.extend(class_authentication());
    cases.extend(class_names());
    cases.extend(class_rate_limits());
    cases.extend(class_routing());
    cases.extend(class_updates());
    cases
}
