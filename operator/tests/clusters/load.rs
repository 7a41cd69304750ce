//! People who ask issuers for coupons, and what they were told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::realm::Realm;
use super::wait::until;

/// People who ask at the same time, and how often each does.
const PEOPLE: usize = 8;

const PAUSE: Duration = Duration::from_millis(10);

/// What somebody heard.
pub(crate) struct Answer {
    pub(crate) user: String,
    pub(crate) rank: u64,
    pub(crate) by: SocketAddr,
    pub(crate) at: Instant,
}

/// People who ask without a pause, each for a user of their own every time.
pub(crate) struct LoadGenerator {
    pub(crate) told: Arc<Mutex<Vec<Answer>>>,
    issuers: Arc<Mutex<Vec<SocketAddr>>>,
    people: Mutex<JoinSet<()>>,
    leaving: CancellationToken,
}

impl LoadGenerator {
    pub(crate) fn at(realm: &Realm, issuers: &[SocketAddr]) -> Self {
        let load = Self {
            told: Arc::default(),
            issuers: Arc::new(Mutex::new(issuers.to_vec())),
            people: Mutex::default(),
            leaving: CancellationToken::new(),
        };
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build().unwrap();
        let path = format!("api/coupons/{}/issue", realm.campaign.coupon_id());
        for person in 0..PEOPLE {
            let (told, issuers, client, path) =
                (Arc::clone(&load.told), Arc::clone(&load.issuers), client.clone(), path.clone());
            let leaving = load.leaving.clone();
            load.people.lock().unwrap().spawn(async move {
                let mut turn = tokio::time::interval(PAUSE);
                for number in 0_usize.. {
                    if leaving.run_until_cancelled(turn.tick()).await.is_none() {
                        return;
                    }
                    let by = {
                        let issuers = issuers.lock().unwrap();
                        issuers[(person + number) % issuers.len()]
                    };
                    let user = format!("u{person}-{number}");
                    let asked = client.post(format!("http://{by}/{path}")).json(&json!({"userId": user})).send().await;
                    let Ok(response) = asked else { continue };
                    let Ok(answer) = response.json::<Value>().await else { continue };
                    if answer["success"] == json!(true) {
                        let (rank, at) = (answer["rank"].as_u64().unwrap(), Instant::now());
                        told.lock().unwrap().push(Answer { user, rank, by, at });
                    }
                }
            });
        }
        load
    }

    pub(crate) fn goes_to(&self, issuers: &[SocketAddr]) {
        *self.issuers.lock().unwrap() = issuers.to_vec();
    }

    /// Waits until so many more have won.
    pub(crate) async fn has_won(&self, more: usize) {
        let before = self.told.lock().unwrap().len();
        let have = async || (self.told.lock().unwrap().len() >= before + more).then_some(());
        until("people win", have).await;
    }

    /// Nobody asks any more, and who has asked was answered: a request that is dropped is granted all the same, some time later.
    pub(crate) async fn leaves(&self) {
        self.leaving.cancel();
        let people = std::mem::take(&mut *self.people.lock().unwrap());
        people.join_all().await;
    }

    /// Whether one of these told somebody after that moment.
    pub(crate) fn was_told_by(&self, issuers: &[SocketAddr], after: Instant) -> bool {
        self.told.lock().unwrap().iter().any(|told| issuers.contains(&told.by) && told.at > after)
    }
}
