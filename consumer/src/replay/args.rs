//! The arguments of `coupon-consumer dead-letters`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use coupon_core::identity::Identity;
use coupon_core::position::Position;
use coupon_sink::decide::DeadLetterReason;

use super::dead_letters::DeadLetter;

/// What to do with dead letters.
#[derive(Debug, Clone, Subcommand)]
pub enum Action {
    /// Show what is in the dead-letter topic, and why.
    List(List),
    /// Put letters back into the campaign's topic if Redis still holds their grants. Doing it twice changes nothing.
    ///
    /// Ends with 0 if every chosen letter is a row in the end, or discarded (or would be replayed, with --dry-run), with 3 if
    /// one is not, and with 1 if a system fails.
    Replay(Replay),
}

impl Action {
    /// Whose letters.
    pub fn place(&self) -> &Place {
        match self {
            Self::List(list) => &list.place,
            Self::Replay(replay) => &replay.place,
        }
    }
}

/// Whose letters, and how to show them.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The campaign, as realm/namespace/couponId.
    #[arg(long, env = "COUPON_CAMPAIGN")]
    pub campaign: Identity,
    /// File that says where Kafka, Redis and the database are.
    #[arg(long, env = "COUPON_CONNECTIONS", default_value = "/etc/coupon/connections.yaml")]
    pub connections: PathBuf,
    /// Write JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Which letters. Every condition that is given must hold; of a repeated one, any. Without a condition: all.
#[derive(Debug, Clone, Default, Args)]
pub struct Choice {
    /// Partition of the dead-letter topic.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// Offset in that partition. May be repeated.
    #[arg(long, requires = "partition", value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: Vec<i64>,
    /// Rank. May be repeated.
    #[arg(long)]
    pub rank: Vec<u64>,
    /// User id. May be repeated.
    #[arg(long)]
    pub user: Vec<String>,
    /// Why it is a dead letter. May be repeated.
    #[arg(long, value_parser = PossibleValuesParser::new(DeadLetterReason::NAMES))]
    pub reason: Vec<String>,
}

impl Choice {
    /// Whether the letter is meant.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let event = letter.event.as_ref().ok();
        let any = |given: usize, holds: bool| given == 0 || holds;
        self.partition.is_none_or(|partition| partition == letter.position.partition)
            && any(self.offset.len(), self.offset.contains(&letter.position.offset))
            && any(self.rank.len(), event.is_some_and(|event| self.rank.contains(&event.rank)))
            && any(
                self.user.len(),
                event.is_some_and(|event| self.user.iter().any(|user| user == event.user_id.as_str())),
            )
            && any(self.reason.len(), self.reason.contains(&letter.reason))
    }
}

/// Arguments of `list`.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Whose letters.
    #[command(flatten)]
    pub place: Place,
    /// Which letters.
    #[command(flatten)]
    pub choice: Choice,
}

/// Arguments of `replay`.
#[derive(Debug, Clone, Args)]
pub struct Replay {
    /// Whose letters.
    #[command(flatten)]
    pub place: Place,
    /// Which letters.
    #[command(flatten)]
    pub choice: Choice,
    /// Only say what would be done; write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Longest time to wait until the letters are rows, in seconds; 0 does not wait.
    #[arg(long = "wait", value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub wait_seconds: u64,
    /// In the end, remove letters that are rows, or discarded, from the head of each partition of the dead-letter topic, chosen
    /// or not. The first one that is neither stops it, and is named. Needs the right to delete records.
    #[arg(long)]
    pub trim: bool,
    /// Letter of this partition and offset of the dead-letter topic that is given up for good although it is no row: it counts
    /// for nothing from now on, and --trim may remove it. Refused while it can still become a row, and while only a Redis that
    /// does not serve could tell whose its rank is. May be repeated.
    #[arg(long, value_name = "PARTITION:OFFSET", value_parser = position)]
    pub discard: Vec<Position>,
}

impl Replay {
    /// Whether the letter is given up.
    pub fn discards(&self, letter: &DeadLetter) -> bool {
        self.discard.contains(&letter.position)
    }
}

fn position(text: &str) -> Result<Position, String> {
    let numbers = text.split_once(':').and_then(|(partition, offset)| {
        Some(Position { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    });
    numbers.filter(|at| at.partition >= 0 && at.offset >= 0).ok_or_else(|| "not PARTITION:OFFSET".to_owned())
}
