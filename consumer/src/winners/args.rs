//! The arguments of `coupon-consumer winners`.

use clap::Args;

use crate::replay::args::Place;

/// Whose winners, and from where on.
#[derive(Debug, Clone, Args)]
#[command(mut_arg("json", |json| json.help("Write JSON Lines, a winner in each, instead of CSV")))]
pub struct Winners {
    /// Which campaign, and whether to write JSON Lines instead of CSV.
    #[command(flatten)]
    pub place: Place,
    /// Only ranks above this one, such as the last of an earlier list.
    #[arg(long, default_value_t = 0)]
    pub above: u64,
}
