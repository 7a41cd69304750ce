//! Processor time and memory of the processes that take part in a case.

use std::time::Duration;

use anyhow::Result;
use coupon_testing::process;

use super::figures::{
    CLIENT_CPU, CLIENT_PEAK, CONSUMER_CPU, CONSUMER_PEAK, DATABASE_CPU, DATABASE_PEAK, Figures, KAFKA_CPU, KAFKA_PEAK,
    REDIS_CPU, REDIS_PEAK, SERVER_CPU, SERVER_PEAK,
};
use super::servers::Pids;

const MIB: f64 = 1024.0 * 1024.0;

/// What a process is in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Answers users.
    Server,
    /// Stores winners.
    Consumer,
    /// This process, where it does the work itself.
    Client,
    /// Redis.
    Redis,
    /// Kafka.
    Kafka,
    /// MariaDB.
    Database,
}

impl Part {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Server => (SERVER_CPU, SERVER_PEAK),
            Self::Consumer => (CONSUMER_CPU, CONSUMER_PEAK),
            Self::Client => (CLIENT_CPU, CLIENT_PEAK),
            Self::Redis => (REDIS_CPU, REDIS_PEAK),
            Self::Kafka => (KAFKA_CPU, KAFKA_PEAK),
            Self::Database => (DATABASE_CPU, DATABASE_PEAK),
        }
    }
}

/// What the processes had taken when it began.
#[derive(Debug)]
pub(crate) struct Meter {
    parts: Vec<(Part, u32, Duration)>,
}

impl Meter {
    /// Begins to measure the servers, and these.
    ///
    /// # Errors
    /// One of them has ended.
    pub(crate) fn begin(servers: Pids, more: &[(Part, u32)]) -> Result<Self> {
        let Pids { redis, kafka, database } = servers;
        let all = [(Part::Redis, redis), (Part::Kafka, kafka), (Part::Database, database)];
        let mut parts = Vec::new();
        for (part, pid) in more.iter().copied().chain(all) {
            process::forget_peak(pid)?;
            parts.push((part, pid, process::cpu(pid)?));
        }
        Ok(Self { parts })
    }

    /// What each has taken since, for each of so many answers, rows or coupons.
    ///
    /// # Errors
    /// One of them has ended.
    pub(crate) fn end(&self, answers: u64, figures: &mut Figures) -> Result<()> {
        for (part, pid, before) in &self.parts {
            let (cpu, peak) = part.names();
            let taken = process::cpu(*pid)?.saturating_sub(*before);
            figures.insert(cpu, each_us(taken, answers));
            figures.insert(peak, process::peak(*pid)? as f64 / MIB);
        }
        Ok(())
    }
}

/// Microseconds for each.
pub(crate) fn each_us(taken: Duration, answers: u64) -> f64 {
    taken.as_secs_f64() * 1e6 / answers.max(1) as f64
}
