//! The emergency stop: `suspend: true` is in force within seconds, whatever is away.
//!
//! A pass reads three systems before it decides, and waits for each that hangs; and a change of terms takes a number from the
//! database. Stopping needs neither: who asks for it is looked for twice a second, and is suspended in Redis, or, if Redis does not
//! answer, by fencing its issuers, who grant nothing until a newer epoch opens. Passes bring the rest, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campaign::identity::CampaignId;
use campaign::stock::{self, StockKeys};
use kube::ResourceExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::api::CouponCampaign;
use crate::context::Context;
use crate::epoch::{self, Told};
use crate::reconcile::{Pass, issuers_of, resolve};

/// How often it is looked who asks to be stopped.
const EVERY: Duration = Duration::from_millis(500);
/// How long Redis may take before the issuers are told instead.
const REDIS: Duration = Duration::from_millis(800);
/// How long one try may take in all, Secrets and the list of pods included.
const TRY: Duration = Duration::from_secs(5);
/// After one that reached Redis the next waits for this long: meanwhile a pass sees it, and status says so.
const DONE: Duration = Duration::from_secs(5);
/// Tries at the same time.
const MOST: usize = 64;

/// What became of the last try to stop a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Redis gives no ranks.
    InRedis,
    /// Redis did not answer; so many issuers are fenced.
    ByFence(Told),
    /// Neither could be reached.
    Failed,
}

impl Stop {
    /// Whether no issuer grants, though Redis could not be told.
    pub fn is_by_fence(&self) -> bool {
        matches!(self, Self::ByFence(told) if told.all())
    }
}

/// Whether issuing is to be stopped that is not known to be.
fn is_wanted(campaign: &CouponCampaign) -> bool {
    let Some(status) = &campaign.status else { return false };
    let in_force = status.terms.as_ref().is_some_and(|terms| terms.suspended);
    campaign.spec.suspend && !in_force && status.epoch.is_some() && campaign.metadata.deletion_timestamp.is_none()
}

/// Looks for campaigns that ask to be stopped, and stops them. Runs until it is dropped, and its tries with it.
pub async fn run(context: Arc<Context>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tries = JoinSet::new();
    // `None`: a try is under way.
    let mut next: HashMap<String, Option<Instant>> = HashMap::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let wanted: Vec<Arc<CouponCampaign>> =
                    context.campaigns.state().into_iter().filter(|campaign| is_wanted(campaign)).collect();
                next.retain(|uid, at| at.is_none() || wanted.iter().any(|each| each.uid().as_ref() == Some(uid)));
                for campaign in wanted {
                    let Some(uid) = campaign.uid() else { continue };
                    let is_due = next.get(&uid).is_none_or(|at| at.is_some_and(|at| at <= Instant::now()));
                    if is_due && tries.len() < MOST {
                        next.insert(uid.clone(), None);
                        tries.spawn(attempt(Arc::clone(&context), campaign, uid));
                    }
                }
            }
            Some(ended) = tries.join_next(), if !tries.is_empty() => match ended {
                Ok((uid, pause)) => drop(next.insert(uid, Some(Instant::now() + pause))),
                // Which one it was is not known: all are due.
                Err(error) => {
                    tracing::error!(%error, "a try to suspend a campaign died");
                    next.clear();
                }
            },
        }
    }
}

async fn attempt(context: Arc<Context>, campaign: Arc<CouponCampaign>, uid: String) -> (String, Duration) {
    let stop = timeout(TRY, stop(&context, &campaign, &uid)).await.unwrap_or(Stop::Failed);
    let last = context.memory.update(&uid, |memory| memory.stop.replace(stop));
    if last != Some(stop) {
        tracing::warn!(
            namespace = campaign.namespace(),
            campaign = campaign.name_any(),
            ?stop,
            "suspension was asked for"
        );
    }
    (uid, if stop == Stop::InRedis { DONE } else { EVERY })
}

async fn stop(context: &Context, campaign: &CouponCampaign, uid: &str) -> Stop {
    let (class, systems) = match resolve(campaign, context).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(campaign = campaign.name_any(), %error, "a campaign that is to be suspended has no usable class");
            return Stop::Failed;
        }
    };
    let namespace = campaign.namespace().unwrap_or_default();
    let Ok(id) = CampaignId::new(&class.spec.realm, &namespace, &campaign.coupon_id()) else { return Stop::Failed };
    let keys = StockKeys::of(&id);
    match timeout(REDIS, systems.with_redis(async |redis| stock::suspend(redis, &keys).await)).await {
        Ok(Ok(())) => return Stop::InRedis,
        Ok(Err(error)) => tracing::debug!(campaign = %id, %error, "Redis could not be told to suspend"),
        Err(_) => tracing::debug!(campaign = %id, "Redis did not answer in time"),
    }
    let pass = Pass { context, campaign, uid, class: &class, id: &id, systems: &systems };
    let known = campaign.status.as_ref().and_then(|status| status.epoch).and_then(|epoch| u64::try_from(epoch).ok());
    let told = async {
        Ok::<_, crate::error::ReconcileError>(epoch::stop(&issuers_of(&pass).await?, known.unwrap_or(0)).await?)
    };
    match told.await {
        Ok(told) => Stop::ByFence(told),
        Err(error) => {
            tracing::warn!(campaign = %id, %error, "issuers could not be told to stop");
            Stop::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::scene::Scene;

    #[test]
    fn who_asks_to_be_stopped_and_is_not_known_to_be() {
        let asking = || {
            Scene::open().with(|s| {
                s.campaign.spec.suspend = true;
                s.campaign.status.as_mut().unwrap().epoch = Some(1);
            })
        };
        let terms = |suspended: bool| {
            move |s: &mut Scene| {
                s.campaign.status.as_mut().unwrap().terms = Some(crate::fixtures::terms_status(suspended))
            }
        };
        for (what, scene, wanted) in [
            ("asked for", asking(), true),
            ("not in force, says status", asking().with(terms(false)), true),
            ("in force", asking().with(terms(true)), false),
            ("not asked for", asking().with(|s| s.campaign.spec.suspend = false), false),
            ("never had an epoch", asking().with(|s| s.campaign.status.as_mut().unwrap().epoch = None), false),
            ("nothing is known of it", asking().with(|s| s.campaign.status = None), false),
        ] {
            assert_eq!(is_wanted(&scene.campaign), wanted, "{what}");
        }
    }

    #[test]
    fn a_fence_is_in_force_when_every_issuer_has_it() {
        for (fenced, pods, expected) in [(0, 0, true), (2, 2, true), (1, 2, false), (0, 1, false)] {
            assert_eq!(Stop::ByFence(Told { fenced, pods }).is_by_fence(), expected, "{fenced} of {pods}");
        }
        assert!(!Stop::InRedis.is_by_fence() && !Stop::Failed.is_by_fence());
    }
}
