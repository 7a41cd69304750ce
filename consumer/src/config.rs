//! Arguments and environment of the process, parsed once.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use coupon_core::identity::Identity;
use coupon_sink::writer::BatchLimits;

use crate::forget::args::Forget;
use crate::replay::args::{Action, Place};
use crate::winners::args::Winners;

/// Stores the winners of one coupon campaign: from its Kafka topic into the database.
#[derive(Debug, Clone, Parser)]
#[command(name = "coupon-consumer", version, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of storing.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to store.
    #[command(flatten)]
    pub config: Option<Config>,
}

impl Cli {
    /// Reads the arguments, the program's name first. What says which campaign is taken before a subcommand as well as behind it.
    ///
    /// # Errors
    /// What clap says of them, and of requests for help.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(behind_the_subcommand(arguments.into_iter().collect()))
    }
}

/// Moves the options of [`Place`] that stand before a subcommand to the end, where its parser looks for them. Everything else stays, and
/// is judged as it is.
fn behind_the_subcommand(all: Vec<OsString>) -> Vec<OsString> {
    let place = Place::augment_args(clap::Command::new("place"));
    let mut next = 1;
    while let Some(word) = all.get(next).and_then(|word| word.to_str()).and_then(|word| word.strip_prefix("--")) {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let known = place.get_arguments().find(|argument| argument.get_long() == Some(name));
        let Some(argument) = known else { return all };
        let takes_next = argument.get_action().takes_values() && value.is_none();
        next += if takes_next { 2 } else { 1 };
    }
    let is_subcommand = |word: &OsString| Cli::command().get_subcommands().any(|each| word == each.get_name());
    match all.get(next).is_some_and(is_subcommand) {
        true => [&all[..1], &all[next..], &all[1..next]].concat(),
        false => all,
    }
}

/// What the program can do besides storing.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Look at dead letters, and replay them.
    #[command(subcommand)]
    DeadLetters(Action),
    /// Put a person's coupons under a pseudonym: in the database, in Redis and in the dead letters.
    ///
    /// Ends with 0 if nothing names the user any more, with 3 if something is left to do, and with 1 if a system fails.
    Forget(Forget),
    /// Write who has won, in the order of ranks, as CSV or JSON Lines.
    ///
    /// Ends with 0 if the list is whole for good: the window is over, and every rank that was given is in the list, or was given up. Ends with 3
    /// if ranks are missing, if more may be given until the window is over, or if Redis, which gives ranks, cannot be asked; and with 1 if
    /// the database fails, or the list cannot be written.
    Winners(Winners),
}

/// Configuration of a consumer process.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The campaign, as realm/namespace/couponId.
    #[arg(long, env = "COUPON_CAMPAIGN")]
    pub campaign: Identity,
    /// File that says where Kafka and the database are.
    #[arg(long, env = "COUPON_CONNECTIONS", default_value = "/etc/coupon/connections.yaml")]
    pub connections: PathBuf,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "COUPON_PROBE_LISTEN", default_value = "[::]:9090")]
    pub probe_listen: SocketAddr,
    /// File to which the addresses that are listened on are written, as JSON, once all are bound: needed where the port is 0.
    #[arg(long, env = "COUPON_ADDRESSES_FILE")]
    pub addresses_file: Option<PathBuf>,
    /// Names this process to the brokers.
    #[arg(long, env = "POD_NAME", default_value = "coupon-consumer")]
    pub pod_name: String,
    /// Log as JSON.
    #[arg(long, env = "COUPON_LOG_JSON", default_value_t = false, action = clap::ArgAction::Set, value_parser = clap::builder::BoolishValueParser::new())]
    pub log_json: bool,
    /// Most rows of one transaction.
    #[arg(long, env = "COUPON_BATCH", default_value_t = 2048, value_parser = clap::value_parser!(u16).range(1..=2048))]
    pub batch: u16,
    /// Longest time that a record waits for others of its batch, in milliseconds.
    #[arg(long, env = "COUPON_MAX_WAIT_MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=5000))]
    pub max_wait_ms: u64,
}

impl Config {
    /// When a batch is full.
    pub fn limits(&self) -> BatchLimits {
        BatchLimits { rows: self.batch.into(), wait: Duration::from_millis(self.max_wait_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Cli, clap::Error> {
        Cli::read(std::iter::once("coupon-consumer").chain(arguments).map(OsString::from))
    }

    #[test]
    fn a_campaign_is_enough() {
        let config = parse(["--campaign", "prod/shop/spring"]).unwrap().config.unwrap();
        assert_eq!((config.batch, config.max_wait_ms, config.probe_listen.port()), (2048, 20, 9090));
        let (read, usual) = (config.limits(), BatchLimits::default());
        assert_eq!((read.rows, read.wait), (usual.rows, usual.wait));
        assert!(!config.log_json);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [["--campaign", "prod/shop"], ["--batch", "0"], ["--batch", "9999"], ["--log-json", "perhaps"]] {
            let all = ["--campaign", "prod/shop/spring"].into_iter().chain(bad);
            assert!(parse(all).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn who_is_forgotten_must_be_somebody() {
        let forget = |user| parse(["forget", "--campaign", "prod/shop/spring", "--user", user]);
        assert!(matches!(forget("anna").unwrap().command, Some(Command::Forget(wanted)) if wanted.user == "anna"));
        assert!(forget("").is_err());
        assert!(parse(["forget", "--campaign", "prod/shop/spring", "--everywhere"]).is_err(), "nobody is named");
    }

    /// Wrong: what the usage prints is refused.
    #[test]
    fn the_campaign_may_be_named_before_the_subcommand() {
        for line in [
            "--campaign prod/shop/spring forget --user anna",
            "--campaign=prod/shop/spring --connections /c.yaml forget --user anna",
            "--json --campaign prod/shop/spring forget --user=anna",
            "--campaign prod/shop/spring dead-letters list",
            "--campaign prod/shop/spring dead-letters replay --dry-run",
            "--campaign prod/shop/spring --json winners --above 7",
        ] {
            let place = match parse(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}")).command {
                Some(Command::Forget(wanted)) => wanted.place,
                Some(Command::Winners(wanted)) => wanted.place,
                Some(Command::DeadLetters(action)) => action.place().clone(),
                None => panic!("{line}: no subcommand"),
            };
            assert_eq!(place.campaign.to_string(), "prod/shop/spring", "{line}");
            assert_eq!(place.json, line.contains("--json"), "{line}");
            assert_eq!(place.connections.ends_with("c.yaml"), line.contains("c.yaml"), "{line}");
        }
        for bad in [
            "--campaign prod/shop/spring --batch 5 forget --user anna",
            "--campaign prod/shop forget --user anna",
            "--campaign forget --user anna",
            "--campaign prod/shop/spring remember --user anna",
            "--campaign prod/shop/spring forget --campaign prod/shop/autumn --user anna",
        ] {
            assert!(parse(bad.split(' ')).is_err(), "{bad}");
        }
        let alone = parse(["--campaign", "prod/shop/spring"]).unwrap();
        assert!(alone.command.is_none() && alone.config.is_some());
    }

    /// Wrong: help speaks of what another command writes.
    #[test]
    fn help_says_what_json_is_for_each_command() {
        let help = |line: &str| parse(line.split(' ')).unwrap_err().to_string();
        let (winners, letters) = (help("winners --help"), help("dead-letters list --help"));
        assert!(winners.contains("JSON Lines, a winner in each") && !winners.contains("table"), "{winners}");
        assert!(letters.contains("Write JSON instead of a table"), "{letters}");
    }

    #[test]
    fn dead_letters_are_chosen_by_what_people_know_of_them() {
        let all = "dead-letters replay --campaign prod/shop/spring --partition 1 --offset 7 --offset 9 --rank 3 --user anna \
            --reason RankConflict --dry-run --wait 5 --trim --discard 1:7 --discard 2:0 --json";
        let Some(Command::DeadLetters(Action::Replay(replay))) = parse(all.split_whitespace()).unwrap().command else {
            panic!("not a replay")
        };
        assert_eq!((replay.choice.partition, replay.choice.offset.as_slice()), (Some(1), &[7, 9][..]));
        assert!(replay.dry_run && replay.trim && replay.place.json && replay.wait_seconds == 5);
        let discarded: Vec<_> = replay.discard.iter().map(|at| (at.partition, at.offset)).collect();
        assert_eq!(discarded, [(1, 7), (2, 0)]);
        let alone = "dead-letters replay --campaign prod/shop/spring --discard 1:7";
        assert!(parse(alone.split_whitespace()).is_ok(), "who may not remove may give up all the same");
        for bad in [
            "--trim --discard 7",
            "--trim --discard 1:-7",
            "--offset 7",
            "--reason Bad",
            "--partition -1",
            "--wait soon",
            "--batch 5",
        ] {
            let all = format!("dead-letters replay --campaign prod/shop/spring {bad}");
            assert!(parse(all.split_whitespace()).is_err(), "{bad}");
        }
    }
}
