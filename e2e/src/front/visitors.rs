//! Sends the crowd through a gateway, at a steady pace.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::crowd::{Crowd, Errand, Heard, judge};
use super::provider::Provider;
use crate::attack::Tally;
use crate::issuer_client::{IssuerClient, Response};

/// Requests under way at once: more, and the pace is not kept.
const AT_ONCE: usize = 4_000;

/// A crowd and the way by which it comes.
#[derive(Clone)]
pub struct Visitors {
    crowd: Arc<Mutex<Crowd>>,
    gateway: IssuerClient,
    provider: Arc<Provider>,
    /// Failures are told with the time since then.
    begin: Instant,
}

/// One who asks now.
struct Visit {
    who: usize,
    errand: Errand,
    name: String,
    before: Option<Heard>,
    request: RequestBuilder,
}

impl Visitors {
    /// So many people, none of whom has come yet.
    pub fn new(people: usize, gateway: IssuerClient, provider: Arc<Provider>, begin: Instant) -> Self {
        Self { crowd: Arc::new(Mutex::new(Crowd::new(people))), gateway, provider, begin }
    }

    /// The crowd. Who panicked while it had it left it whole: every change is one assignment.
    pub fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They come, so many a second, until `stop` and until all have come and been told something; at most for `most`.
    pub async fn come(&self, rate: u32, most: Duration, stop: CancellationToken) -> Tally {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (begin, mut tick, mut asking) = (Instant::now(), 0, JoinSet::new());
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while begin.elapsed() < most && !(stop.is_cancelled() && self.crowd().is_served()) {
            // Who comes late because we are, waits from when it should have come.
            let due = ticks.tick().await;
            while asking.try_join_next().is_some() {}
            if asking.len() >= AT_ONCE {
                asking.join_next().await;
            }
            let Some(visit) = self.next(tick) else { continue };
            tick += 1;
            let (visitors, tally) = (self.clone(), Arc::clone(&tally));
            asking.spawn(async move {
                let failed = visitors.pay(visit).await;
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.took_ms.push(due.elapsed().as_millis());
                tally.failed.extend(failed);
            });
        }
        while asking.join_next().await.is_some() {}
        let mut tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
        tally.took_ms.sort_unstable();
        tally
    }

    fn next(&self, tick: u64) -> Option<Visit> {
        let mut crowd = self.crowd();
        let (who, errand) = crowd.next(tick);
        let token = match errand {
            Errand::Count => String::new(),
            _ => crowd.token(who, Instant::now(), |name| self.provider.token(name))?,
        };
        let person = crowd.person(who)?;
        let http = self.gateway.http();
        let request = match errand {
            Errand::First | Errand::Again => {
                // As two kinds of clients do it: with the user in the body, and without.
                let body = if tick.is_multiple_of(2) { json!({}) } else { json!({"userId": person.name}) };
                http.post(self.gateway.url("/issue"))
                    .bearer_auth(token)
                    .header("Idempotency-Key", &person.key)
                    .json(&body)
            }
            Errand::Look => http.get(self.gateway.url(&format!("/users/{}", person.name))).bearer_auth(token),
            Errand::Count => http.get(self.gateway.url("")),
        };
        Some(Visit { who, errand, name: person.name.clone(), before: person.heard, request })
    }

    /// Who looks at the countdown does so as nobody, beside whatever else is asked.
    fn heard(&self, who: usize, errand: Errand, told: Option<Heard>) {
        if errand != Errand::Count {
            self.crowd().hears(who, told);
        }
    }

    /// Asks, and answers what failed, if it did.
    async fn pay(&self, visit: Visit) -> Option<Response> {
        let begin = Instant::now();
        let Visit { who, errand, name, before, request } = visit;
        let answered = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            let text = response.text().await?;
            Ok::<_, reqwest::Error>((status, text))
        };
        let (status, why) = match answered.await {
            Ok((status, text)) => {
                let body: Value = serde_json::from_str(&text).unwrap_or_default();
                match judge(errand, before, status, &body) {
                    Ok(told) => {
                        self.heard(who, errand, told);
                        return None;
                    }
                    Err(why) => (status, format!("{errand:?}: {why}: {text}")),
                }
            }
            Err(error) => (0, format!("{errand:?}: {error:?}")),
        };
        self.heard(who, errand, None);
        let why = format!("at {:.1} s: {why}", self.begin.elapsed().as_secs_f64());
        Some(Response { user: name, status, code: why, rank: None, took: begin.elapsed() })
    }
}
