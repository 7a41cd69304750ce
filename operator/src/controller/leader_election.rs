//! Leader election: one operator works, others stand by. Every write carries the resourceVersion that was read, so of two
//! candidates one loses with a conflict. No lease fences Kafka, Redis or SQL: epochs do that (docs/adr/0045-write-the-lease-ourselves.md).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// Name of the Lease object.
const NAME: &str = "coupon-operator";
/// However long a lease says that its holder may be silent, nobody waits longer: that is somebody's edit, not a holder's word.
const LONGEST: Duration = Duration::from_secs(60);
/// How fast an election goes.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// A holder that has not renewed for this long is taken to be dead.
    duration: Duration,
    /// How often the holder renews; a candidate looks three times as often.
    renew: Duration,
    /// A holder that could not renew for this long stops working: earlier than anybody may take over.
    give_up: Duration,
    /// Each call to the API. Several fit before giving up.
    call: Duration,
}

const PACE: Pace = Pace {
    duration: Duration::from_secs(15),
    renew: Duration::from_secs(3),
    give_up: Duration::from_secs(10),
    call: Duration::from_secs(3),
};

/// The lease as one candidate sees it.
pub struct Election {
    leases: Api<Lease>,
    holder: String,
    pace: Pace,
    sighting: Mutex<Option<ObservedLease>>,
}

/// The lease is no longer ours.
#[derive(Debug, thiserror::Error)]
#[error("the lease was lost: {0}")]
pub struct Lost(String);

/// What a candidate may do with the lease as it is.
#[derive(Debug, PartialEq, Eq)]
enum LeaseClaim {
    /// Nobody has it, it is ours, or its holder is dead.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// A lease of somebody else's as it was last found to have changed. Whether its holder is alive is told by whether it changes, and
/// timed here, from then on, by a clock that only runs forward: the time written in it is the clock of another machine, which may
/// be wrong by minutes.
#[derive(Debug, Clone, PartialEq)]
struct ObservedLease {
    holder: String,
    renewed: Option<MicroTime>,
    since: Instant,
}

fn claim(spec: &LeaseSpec, me: &str, seen: &mut Option<ObservedLease>, default: Duration, now: Instant) -> LeaseClaim {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if holder.is_empty() || holder == me {
        *seen = None;
        return LeaseClaim::Take;
    }
    let unchanged = seen.as_ref().filter(|seen| seen.holder == holder && seen.renewed == spec.renew_time);
    let since = unchanged.map_or(now, |seen| seen.since);
    *seen = Some(ObservedLease { holder: holder.to_owned(), renewed: spec.renew_time.clone(), since });
    let written =
        spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|&seconds| seconds > 0);
    let patience = written.map_or(default, Duration::from_secs).min(LONGEST);
    if now - since > patience { LeaseClaim::Take } else { LeaseClaim::Wait }
}

impl Election {
    /// A candidate with a name of its own.
    pub fn new(client: Client, namespace: &str, holder: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            holder: holder.to_owned(),
            pace: PACE,
            sighting: Mutex::default(),
        }
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&self) {
        let mut told = None;
        loop {
            match timeout(self.pace.call, self.try_hold()).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {
                    let seen = self.sighting.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    if let Some(ObservedLease { holder, since, .. }) = seen {
                        let is_silent = since.elapsed() > self.pace.duration;
                        if told.as_ref() != Some(&(holder.clone(), is_silent)) {
                            match is_silent {
                                false => tracing::info!(holder, "standing by: another operator holds the lease"),
                                true => tracing::warn!(
                                    holder,
                                    "the holder of the lease renews it no more; it is taken over after {} s at most",
                                    LONGEST.as_secs()
                                ),
                            }
                            told = Some((holder, is_silent));
                        }
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be asked for"),
                Err(_) => tracing::warn!("the Kubernetes API did not answer about the lease"),
            }
            sleep(self.pace.renew / 3).await;
        }
    }

    /// Renews the lease for as long as that succeeds, and calls `renewal` at the start and each time. The caller must stop
    /// all work when it returns.
    pub async fn renew(&self, renewal: impl Fn()) -> Lost {
        let Pace { renew, give_up, call, .. } = self.pace;
        let mut renewed = Instant::now();
        renewal();
        loop {
            // Others count from when they see the renewal, which is after the call began: we count from before it. And no pause or call may outlast the end.
            let end = renewed + give_up;
            sleep_until(end.min(Instant::now() + renew)).await;
            let began = Instant::now();
            match timeout_at(end.min(began + call), self.try_hold()).await {
                Ok(Ok(true)) => {
                    renewed = began;
                    renewal();
                }
                Ok(Ok(false)) => return Lost("somebody else holds it".to_owned()),
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => tracing::warn!("the Kubernetes API did not answer about the lease"),
            }
            if renewed.elapsed() >= give_up {
                return Lost(format!("it could not be renewed for {} s", give_up.as_secs()));
            }
        }
    }

    /// Releases the lease, so that the next operator need not wait for it to expire.
    pub async fn release(&self) {
        let released = async {
            let Some(mut lease) = self.leases.get_opt(NAME).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.holder) {
                spec.holder_identity = None;
                spec.renew_time = None;
                self.leases.replace(NAME, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        if !matches!(timeout(self.pace.call, released).await, Ok(Ok(()))) {
            tracing::warn!("the lease could not be released; the next operator waits until it expires");
        }
    }

    /// One try to take or renew. False: somebody else holds it, or was faster.
    async fn try_hold(&self) -> Result<bool, kube::Error> {
        // For people who read the lease; nobody decides by it.
        let now = Timestamp::now();
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.held(&LeaseSpec::default(), now)),
            };
            return settle(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if self.claim(&spec) == LeaseClaim::Wait {
            return Ok(false);
        }
        // `lease` still has the resourceVersion that was read: the write fails if anybody wrote in between.
        lease.spec = Some(self.held(&spec, now));
        settle(self.leases.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn claim(&self, spec: &LeaseSpec) -> LeaseClaim {
        let mut seen = self.sighting.lock().unwrap_or_else(PoisonError::into_inner);
        claim(spec, &self.holder, &mut seen, self.pace.duration, Instant::now())
    }

    fn held(&self, before: &LeaseSpec, now: Timestamp) -> LeaseSpec {
        let ours = before.holder_identity.as_deref() == Some(&self.holder);
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(self.pace.duration.as_secs()).ok(),
            renew_time: Some(MicroTime(now)),
            acquire_time: if ours { before.acquire_time.clone() } else { Some(MicroTime(now)) },
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!ours)),
            ..before.clone()
        }
    }
}

fn settle(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use tower_test::mock::Handle;

    use super::*;

    /// A lease as its holder wrote it, by the holder's clock.
    fn lease(holder: &str, renewed: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: (!holder.is_empty()).then(|| holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: (!renewed.is_empty()).then(|| MicroTime(renewed.parse().unwrap())),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn who_may_take_the_lease_at_first_sight() {
        for (spec, expected) in [
            (LeaseSpec::default(), LeaseClaim::Take),
            (lease("", "2026-01-01T00:00:00Z"), LeaseClaim::Take),
            (lease("me", "2026-01-01T00:00:00Z"), LeaseClaim::Take),
            (lease("other", ""), LeaseClaim::Wait),
            (lease("other", "1999-01-01T00:00:00Z"), LeaseClaim::Wait),
            (lease("other", "2999-01-01T00:00:00Z"), LeaseClaim::Wait),
        ] {
            assert_eq!(claim(&spec, "me", &mut None, PACE.duration, Instant::now()), expected, "{spec:?}");
        }
    }

    /// Wrong: a candidate whose clock is ahead takes the lease from a holder that is alive, or one whose clock is behind never does.
    #[test]
    fn no_clock_of_another_machine_decides() {
        // The holder's clock: years behind ours, years ahead, and running backwards.
        for clock in [
            ["1999-01-01T00:00:00Z", "1999-01-01T00:00:03Z"],
            ["2999-01-01T00:00:00Z", "2999-01-01T00:00:03Z"],
            ["2026-01-01T00:00:03Z", "2026-01-01T00:00:00Z"],
        ] {
            let (start, mut seen) = (Instant::now(), None);
            let mut look = |spec: &LeaseSpec, seconds: u64| {
                claim(spec, "me", &mut seen, PACE.duration, start + Duration::from_secs(seconds))
            };
            // Alive: it renews every 3 s.
            for round in 0..20_u64 {
                let renewed = lease("other", clock[usize::from(round % 2 == 1)]);
                assert_eq!(look(&renewed, 3 * round), LeaseClaim::Wait, "{clock:?} {round}");
            }
            // Then it dies.
            let last = lease("other", clock[1]);
            assert_eq!(look(&last, 57 + 15), LeaseClaim::Wait, "{clock:?}");
            assert_eq!(look(&last, 57 + 16), LeaseClaim::Take, "{clock:?}");
            // Somebody else was faster: the count begins again.
            assert_eq!(look(&lease("third", clock[1]), 57 + 17), LeaseClaim::Wait, "{clock:?}");
        }
    }

    #[test]
    fn a_lease_that_somebody_made_last_for_a_day_does_not() {
        let start = Instant::now();
        let mut seen = None;
        let spec = LeaseSpec { lease_duration_seconds: Some(86_400), ..lease("ghost", "") };
        assert_eq!(claim(&spec, "me", &mut seen, PACE.duration, start), LeaseClaim::Wait);
        assert_eq!(claim(&spec, "me", &mut seen, PACE.duration, start + LONGEST), LeaseClaim::Wait);
        let late = start + LONGEST + Duration::from_secs(1);
        assert_eq!(claim(&spec, "me", &mut seen, PACE.duration, late), LeaseClaim::Take);
    }

    #[test]
    fn a_lease_without_a_duration_gets_ours() {
        let (start, mut seen) = (Instant::now(), None);
        for seconds in [None, Some(0), Some(-5)] {
            let spec = LeaseSpec { lease_duration_seconds: seconds, ..lease("other", "") };
            assert_eq!(claim(&spec, "me", &mut seen, PACE.duration, start), LeaseClaim::Wait);
            let late = start + PACE.duration + Duration::from_secs(1);
            assert_eq!(claim(&spec, "me", &mut seen.clone(), PACE.duration, late), LeaseClaim::Take);
        }
    }

    #[test]
    fn a_holder_stops_before_anybody_may_take_over() {
        // The first call, which wrote the time, may have taken as long as a call may.
        assert!(PACE.call + PACE.give_up < PACE.duration);
        assert!(PACE.renew + PACE.call < PACE.give_up, "one slow call must not cost the lease");
    }

    /// A candidate, and an API server of which the test is in charge.
    fn candidate(pace: Pace) -> (Election, Handle<Request<Body>, Response<Body>>) {
        let (service, server) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let leases = Api::namespaced(Client::new(service, "default"), "default");
        (Election { leases, holder: "me".to_owned(), pace, sighting: Mutex::default() }, server)
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_whose_api_server_is_silent_stops_in_time() {
        // A call that hangs must not carry the holder beyond the time at which others take over.
        let pace = Pace { call: Duration::from_secs(60), ..PACE };
        let (election, mut server) = candidate(pace);
        let silent = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Some(request) = server.next_request().await {
                held.push(request);
            }
        });
        let lost = timeout(pace.duration, election.renew(|| {})).await.expect("gives up by itself");
        assert!(lost.to_string().contains("could not be renewed"), "{lost}");
        silent.abort();
    }

    #[tokio::test]
    async fn a_write_that_comes_too_late_is_a_lost_race() {
        // Between reading and writing, somebody else wrote: the server says 409, and that is a no, not an error to retry.
        let (election, mut server) = candidate(PACE);
        let expired = serde_json::json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": NAME, "resourceVersion": "7"},
            "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "2020-01-01T00:00:00.000000Z"},
        });
        let conflict = serde_json::json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409, "message": "modified",
        });
        let server = tokio::spawn(async move {
            let (request, answer) = server.next_request().await.unwrap();
            assert_eq!(request.method(), "GET");
            answer.send_response(Response::new(Body::from(serde_json::to_vec(&expired).unwrap())));
            let (request, answer) = server.next_request().await.unwrap();
            let sent = request.into_body().collect_bytes().await.unwrap();
            let sent: Lease = serde_json::from_slice(&sent).unwrap();
            let body = Body::from(serde_json::to_vec(&conflict).unwrap());
            answer.send_response(Response::builder().status(409).body(body).unwrap());
            sent
        });
        // It was seen for the first time long ago.
        let renewed = Some(MicroTime("2020-01-01T00:00:00Z".parse().unwrap()));
        let since = Instant::now() - Duration::from_secs(16);
        *election.sighting.lock().unwrap() = Some(ObservedLease { holder: "other".to_owned(), renewed, since });
        assert!(!election.try_hold().await.unwrap());
        let sent = server.await.unwrap();
        assert_eq!(sent.metadata.resource_version.as_deref(), Some("7"), "the write says what was read");
        assert_eq!(sent.spec.unwrap().holder_identity.as_deref(), Some("me"));
    }
}
