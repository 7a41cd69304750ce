//! Asks Redis whether it would give ranks, while nobody else does: a sale that nobody asks would go on saying that it grants, for as long
//! as Redis is away.
//!
//! What is sent is a batch without wishes, by the script that gives ranks: it comes to nothing where a wish would (Redis does not answer,
//! takes no writes, is another one, holds another epoch, or keys that do not fit together), and gives nothing. Users pay nothing for it: while
//! batches are sent none is, and no batch waits for one.

use std::sync::Arc;
use std::time::Duration;

use campaign::stock::{Executed, Reply, StockError, StockKeys, issue};
use tokio::time::Instant;

use crate::gatekeeper::{Gatekeeper, Pass};
use crate::redis_link::{CALL_TIMEOUT, Live, RedisLink};
use crate::trouble::{LASTS, Trouble};

/// How long nobody may have asked before this does. Operators look as often.
const EVERY: Duration = Duration::from_secs(2);

/// The task that asks.
pub struct Prober {
    /// The connection.
    pub link: RedisLink,
    /// The gate: while it is closed, whoever opens it asks Redis.
    pub keeper: Arc<Gatekeeper>,
    /// The campaign's keys.
    pub keys: StockKeys,
    /// What is known of calls that failed.
    pub trouble: Arc<Trouble>,
}

impl Prober {
    /// Works until it is dropped.
    pub async fn run(self) {
        loop {
            // What fails is asked again as soon as it may be called lasting.
            let pause = if self.trouble.is_met(Instant::now()) { LASTS } else { EVERY };
            tokio::time::sleep(pause.mul_f64(rand::random_range(1.0..=1.2))).await;
            if !self.trouble.was_asked(pause, Instant::now())
                && let Ok(pass) = self.keeper.enter(1)
            {
                self.ask(&pass).await;
            }
        }
    }

    async fn ask(&self, pass: &Pass) {
        let Some(mut live) = self.link.live() else {
            let why = self.link.why_away();
            return self.trouble.failed(why.as_deref().unwrap_or("no connection to Redis"), false, Instant::now());
        };
        let call = issue(&mut live.connection, &self.keys, pass.epoch(), pass.seen(), &[]);
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(reply)) => {
                live.serves();
                // Rights that a grant needs beyond this, only a grant can show.
                self.trouble.heard(Instant::now());
                match reply {
                    Reply::Answered(batch) => self.keeper.saw(pass.epoch(), batch.highest),
                    Reply::Refused(refusal) => {
                        tracing::warn!(
                            epoch = pass.epoch(),
                            ?refusal,
                            "Redis would refuse a batch; the open epoch is read again"
                        );
                        self.keeper.refused(pass.epoch(), refusal);
                    }
                }
            }
            Ok(Err(error)) => self.failed(pass, &live, &error),
            Err(_) => self.failed(pass, &live, &StockError::Timeout(CALL_TIMEOUT.as_millis())),
        }
    }

    fn failed(&self, pass: &Pass, live: &Live, error: &StockError) {
        // A right that is missing here is there again when this succeeds.
        self.trouble.failed(&error.to_string(), false, Instant::now());
        self.link.failed(live, error);
        if error.executed() == Executed::Fatal {
            tracing::error!(%error, epoch = pass.epoch(), "Redis' answer makes no sense; issuing stops until a new epoch opens");
            self.keeper.broken(pass.epoch());
        }
    }
}
