//! What the load generator is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Asks for coupons and tells what it heard: the last line is JSON.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The server.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The campaign's coupon id.
    #[arg(long)]
    pub(crate) coupon: String,
    /// Connections, which are kept.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    pub(crate) connections: u64,
    /// How long to ask.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// So many requests a second, due at even distances, whatever is answered. Without it each connection asks again once it was answered.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rate: Option<u64>,
    /// After that at this rate, for [`Self::then_seconds`].
    #[arg(long, requires_all = ["rate", "then_seconds"], value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) then_rate: Option<u64>,
    /// How long to go on so.
    #[arg(long, requires = "then_rate")]
    pub(crate) then_seconds: Option<f64>,
    /// Each connection goes on until it hears that all is sold out, for those seconds at most.
    #[arg(long, conflicts_with = "rate")]
    pub(crate) until_sold_out: bool,
    /// Number of the first user.
    #[arg(long, default_value_t = 0)]
    pub(crate) first_user: u64,
    /// Only so many users, again and again. Without it each request has a user of its own.
    #[arg(long)]
    pub(crate) among: Option<u64>,
    /// Header in which each request names its user as a gateway would.
    #[arg(long, conflicts_with = "tokens")]
    pub(crate) user_header: Option<String>,
    /// File with a token for each user, one a line, from user 0 on. It is asked until all of them have.
    #[arg(long)]
    pub(crate) tokens: Option<PathBuf>,
    /// File for users and the ranks that they were told.
    #[arg(long)]
    pub(crate) told: Option<PathBuf>,
}

impl Options {
    /// How long to ask, at the first rate.
    pub(crate) fn duration(&self) -> Duration {
        seconds(self.seconds)
    }

    /// How long to ask after that, at the second.
    pub(crate) fn then(&self) -> Duration {
        seconds(self.then_seconds.unwrap_or_default())
    }
}

fn seconds(seconds: f64) -> Duration {
    // Nobody asks for more than a day; a number that is none is no time.
    Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))
}
