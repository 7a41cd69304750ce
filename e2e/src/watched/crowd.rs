//! People who ask all the time, each once, and what they hear.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::issuer_client::IssuerClient;

/// So many wait for an answer at most; when there are as many, nobody else comes.
const TOGETHER: usize = 200;

/// How many heard what.
type Heard = Arc<Mutex<BTreeMap<String, u64>>>;

/// The people. They go away when this is dropped.
pub struct Crowd {
    task: JoinHandle<()>,
    heard: Heard,
}

impl Crowd {
    /// They begin to come, so many per second.
    pub fn come(issuer: IssuerClient, per_second: u32) -> Self {
        let heard = Heard::default();
        let task = tokio::spawn(ask_on(issuer, per_second, Arc::clone(&heard)));
        Self { task, heard }
    }

    /// How many heard what so far, by the answer's code. Who got no answer is under the empty one.
    pub fn heard(&self) -> BTreeMap<String, u64> {
        // A task that panicked while holding the lock left whole numbers behind.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask_on(issuer: IssuerClient, per_second: u32, heard: Heard) {
    let mut ticks = interval(Duration::from_secs(1) / per_second.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut waiting = JoinSet::new();
    let mut number = 0_u64;
    loop {
        ticks.tick().await;
        while waiting.try_join_next().is_some() {}
        if waiting.len() >= TOGETHER {
            continue;
        }
        number += 1;
        let (issuer, heard) = (issuer.clone(), Arc::clone(&heard));
        waiting.spawn(async move {
            let answer = issuer.ask(&format!("person-{number:06}"), None).await;
            let code = if answer.status == 0 { String::new() } else { answer.code };
            *heard.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
        });
    }
}
