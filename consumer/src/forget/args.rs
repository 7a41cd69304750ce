//! The arguments of `coupon-consumer forget`.

use clap::Args;
use coupon_core::identity::UserId;

use crate::replay::args::Place;

/// Whom to forget, and where.
#[derive(Debug, Clone, Args)]
pub struct Forget {
    /// Which campaign.
    #[command(flatten)]
    pub place: Place,
    /// The user id, as it was sent or as it is stored.
    #[arg(long, value_parser = user)]
    pub user: String,
    /// Forget them in all campaigns of the realm that the database knows, not only in this one.
    #[arg(long)]
    pub everywhere: bool,
    /// Also where coupons can still be had: who was forgotten is a new user there, and may win again.
    #[arg(long)]
    pub while_open: bool,
    /// Only say what would be done; write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

fn user(text: &str) -> Result<String, String> {
    UserId::new(text).map(String::from).map_err(|error| error.to_string())
}
