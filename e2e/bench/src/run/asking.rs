//! Runs the load generator, and takes in what it heard.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stack::child;

use super::programs::bench;
use super::told::Told;
use crate::load::{LoadReport, read_grants};

/// How long a load may take beyond its time: to connect, for the last answers, to write down what it heard.
const MARGIN: Duration = Duration::from_secs(60);
const FILE: &str = "told";

/// How users ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Asking {
    /// Each connection again once it was answered, for so many seconds.
    Closed {
        /// How long.
        seconds: f64,
    },
    /// At a constant rate.
    Constant {
        /// How long.
        seconds: f64,
        /// Requests a second.
        rate: u64,
    },
    /// At a constant rate, and after that at another.
    Then {
        /// How long.
        seconds: f64,
        /// Requests a second.
        rate: u64,
        /// How long after that.
        then_seconds: f64,
        /// Requests a second after that.
        then_rate: u64,
    },
    /// Each connection until it hears that all is sold out.
    UntilSoldOut {
        /// For so long at most.
        seconds: f64,
    },
    /// Some users again and again.
    Again {
        /// How long.
        seconds: f64,
        /// From which on.
        first: u64,
        /// So many.
        users: u64,
    },
}

/// The users of a campaign.
#[derive(Debug)]
pub(crate) struct Users<'a> {
    address: SocketAddr,
    coupon: &'a str,
    scratch: &'a std::path::Path,
    arguments: Vec<String>,
    next: u64,
    unheard: u64,
    /// What they were told.
    pub(crate) told: Told,
}

impl<'a> Users<'a> {
    /// Nobody has asked yet.
    pub(crate) fn of(address: SocketAddr, coupon: &'a str, total: u64, scratch: &'a std::path::Path) -> Self {
        Self { address, coupon, scratch, arguments: Vec::new(), next: 0, unheard: 0, told: Told::of(total) }
    }

    /// They say who they are, as these arguments of the load generator tell.
    pub(crate) fn who_say_it_by(self, arguments: Vec<String>) -> Self {
        Self { arguments, ..self }
    }

    /// Has users ask, on so many connections, each request by somebody new but for [`Asking::Again`].
    ///
    /// # Errors
    /// The load generator fails, or takes too long.
    pub(crate) fn ask(&mut self, connections: u64, asking: Asking) -> Result<LoadReport> {
        let file = self.scratch.join(FILE);
        let mut command = bench()?;
        command.args(["load", "--coupon", self.coupon, "--address", &self.address.to_string()]);
        command.args(["--connections", &connections.to_string()]).arg("--told").arg(&file).args(&self.arguments);
        let seconds = match asking {
            Asking::Closed { seconds } => seconds,
            Asking::Constant { seconds, rate } => {
                command.args(["--rate", &rate.to_string()]);
                seconds
            }
            Asking::Then { seconds, rate, then_seconds, then_rate } => {
                command.args(["--rate", &rate.to_string(), "--then-rate", &then_rate.to_string()]);
                command.args(["--then-seconds", &then_seconds.to_string()]);
                seconds
            }
            Asking::UntilSoldOut { seconds } => {
                command.arg("--until-sold-out");
                seconds
            }
            Asking::Again { seconds, users, .. } => {
                command.args(["--among", &users.to_string()]);
                seconds
            }
        };
        let first = if let Asking::Again { first, .. } = asking { first } else { self.next };
        command.args(["--seconds", &seconds.to_string(), "--first-user", &first.to_string()]);
        let then = if let Asking::Then { then_seconds, .. } = asking { then_seconds } else { 0.0 };
        let within = Duration::from_secs_f64(seconds + then) + MARGIN;
        let output = child::output("bench load", command, within)?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the load generator: {}: {}", output.status, words.trim());
        let line = String::from_utf8_lossy(&output.stdout);
        let report: LoadReport = serde_json::from_str(line.trim()).context("what the load generator wrote")?;
        for (user, rank) in read_grants(&std::fs::read(&file).context("what users were told")?) {
            self.told.hear(user, rank);
        }
        std::fs::remove_file(&file)?;
        self.next = self.next.max(report.next_user);
        self.unheard += report.errors();
        Ok(report)
    }

    /// What is wrong with what they were told, beside what Redis gave.
    pub(crate) fn faults(&self, issued: Option<u64>) -> Vec<String> {
        self.told.faults(issued, self.unheard)
    }
}
