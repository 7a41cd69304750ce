//! Leader election: one operator works, others stand by. Every write carries the resourceVersion that was read, so of two
//! candidates one loses with a conflict. No lease fences Kafka, Redis or SQL: epochs do that (docs/ARCHITECTURE.md).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

/// Name of the Lease object.
const NAME: &str = "coupon-operator";
/// A holder that has not renewed for this long is taken to be dead.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews, and a candidate looks.
const RENEW: Duration = Duration::from_secs(3);
/// A holder that could not renew for this long stops working: earlier than anybody may take over.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Each call to the API. Several fit before giving up.
const CALL: Duration = Duration::from_secs(3);

/// The lease as one candidate sees it.
pub struct Election {
    leases: Api<Lease>,
    holder: String,
}

/// The lease is no longer ours.
#[derive(Debug, thiserror::Error)]
#[error("the lease was lost: {0}")]
pub struct Lost(String);

/// What a candidate may do with the lease as it is.
#[derive(Debug, PartialEq, Eq)]
enum Stand {
    /// Nobody has it, or it is ours.
    Take,
    /// Somebody else holds it.
    Wait,
}

fn stand(spec: &LeaseSpec, holder: &str, now: Timestamp) -> Stand {
    let held_by = spec.holder_identity.as_deref().unwrap_or_default();
    let duration = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(0).into());
    let expired = spec.renew_time.as_ref().is_none_or(|renewed| renewed.0 + duration < now);
    if held_by.is_empty() || held_by == holder || expired { Stand::Take } else { Stand::Wait }
}

impl Election {
    /// A candidate with a name of its own.
    pub fn new(client: Client, namespace: &str, holder: &str) -> Self {
        Self { leases: Api::namespaced(client, namespace), holder: holder.to_owned() }
    }

    /// Waits until the lease is ours.
    pub async fn acquire(&self) {
        loop {
            match timeout(CALL, self.try_hold()).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be asked for"),
                Err(_) => tracing::warn!("the Kubernetes API did not answer about the lease"),
            }
            sleep(RENEW / 3).await;
        }
    }

    /// Renews the lease for as long as that succeeds. Whoever calls this must stop all work when it returns.
    pub async fn keep(&self) -> Lost {
        let mut renewed = Instant::now();
        loop {
            sleep(RENEW).await;
            match timeout(CALL, self.try_hold()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return Lost("somebody else holds it".to_owned()),
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => tracing::warn!("the Kubernetes API did not answer about the lease"),
            }
            if renewed.elapsed() >= GIVE_UP {
                return Lost(format!("it could not be renewed for {} s", GIVE_UP.as_secs()));
            }
        }
    }

    /// Lets go of the lease, so that the next operator need not wait for it to expire.
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
        if !matches!(timeout(CALL, released).await, Ok(Ok(()))) {
            tracing::warn!("the lease could not be released; the next operator waits until it expires");
        }
    }

    /// One try to take or renew. False: somebody else holds it, or was faster.
    async fn try_hold(&self) -> Result<bool, kube::Error> {
        let now = Timestamp::now();
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.held(&LeaseSpec::default(), now)),
            };
            return settle(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if stand(&spec, &self.holder, now) == Stand::Wait {
            return Ok(false);
        }
        // `lease` still has the resourceVersion that was read: the write fails if anybody wrote in between.
        lease.spec = Some(self.held(&spec, now));
        settle(self.leases.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn held(&self, before: &LeaseSpec, now: Timestamp) -> LeaseSpec {
        let ours = before.holder_identity.as_deref() == Some(&self.holder);
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
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
    use super::*;

    #[test]
    fn who_may_take_the_lease() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let lease = |holder: &str, seconds_ago: i64| LeaseSpec {
            holder_identity: (!holder.is_empty()).then(|| holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(now - SignedDuration::from_secs(seconds_ago))),
            ..LeaseSpec::default()
        };
        for (spec, expected) in [
            (LeaseSpec::default(), Stand::Take),
            (lease("", 1), Stand::Take),
            (lease("me", 1), Stand::Take),
            (lease("other", 14), Stand::Wait),
            (lease("other", 16), Stand::Take),
        ] {
            assert_eq!(stand(&spec, "me", now), expected, "{spec:?}");
        }
    }
}
