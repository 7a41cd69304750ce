//! The emergency stop: `suspend: true` is in force within seconds, whatever is away.
//!
//! A pass reads three systems before it decides, and waits for each that hangs; and a change of terms takes a number from the
//! database. Stopping needs neither: who asks for it is looked for twice a second, and is suspended in Redis, or, if Redis does not
//! answer, by fencing its issuers, who grant nothing until a newer epoch opens. Passes bring the rest, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campaign::stock::{self, StockKeys};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::api::{CouponCampaign, CouponCampaignStatus};
use crate::class;
use crate::class_kept;
use crate::context::Context;
use crate::epoch;
use crate::error::ReconcileError;
use crate::reconcile::{issuers_of, publish, resolve};
use crate::stopped::DONE;
pub use crate::stopped::Stop;

/// How often it is looked who asks to be stopped.
const EVERY: Duration = Duration::from_millis(500);
/// How long Redis may take, and the Secrets that say where it is, before the issuers are told instead.
const REDIS: Duration = Duration::from_millis(800);
/// How long one try may take in all, Secrets and the list of pods included.
const TRY: Duration = Duration::from_secs(5);
/// How long a deletion may take to close a sale by itself.
const DELETION: SignedDuration = SignedDuration::from_secs(3);
/// Tries at the same time.
const MOST: usize = 64;

/// Corrects what a pass has found that began at `begun`: a system that hangs holds passes up for many seconds, and meanwhile issuing
/// was stopped.
pub(crate) fn correct(
    status: &mut CouponCampaignStatus,
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    begun: Instant,
) {
    let asks = |each: &CouponCampaign| each.uid().as_deref() == Some(uid) && each.spec.suspend;
    let since = context.memory.get(uid).stop.filter(|(stop, at)| stop.is_in_force() && *at >= begun);
    if let Some((stop, _)) = since
        && context.campaigns.find(asks).is_some()
    {
        stop.show(status, campaign.metadata.generation.unwrap_or(0), Timestamp::now());
    }
}

/// Whether issuing is to be stopped that is not known to be.
///
/// `closed`: a deletion has closed it. One that cannot get that far, as Secrets are missing for example, must not go on selling.
fn is_wanted(campaign: &CouponCampaign, closed: bool, now: Timestamp) -> bool {
    let Some(status) = campaign.status.as_ref().filter(|status| status.epoch.is_some()) else { return false };
    if let Some(Time(since)) = &campaign.metadata.deletion_timestamp {
        return !closed && now.duration_since(*since) > DELETION;
    }
    let in_force = status.terms.as_ref().is_some_and(|terms| terms.suspended);
    campaign.spec.suspend && !in_force
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
                    context.campaigns.state().into_iter().filter(|campaign| asks(campaign, &context)).collect();
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

fn asks(campaign: &CouponCampaign, context: &Context) -> bool {
    let is_closed = || context.memory.get(&campaign.uid().unwrap_or_default()).closed;
    // Most are neither: their memory is not copied.
    let may = campaign.spec.suspend || campaign.metadata.deletion_timestamp.is_some();
    may && is_wanted(campaign, is_closed(), Timestamp::now())
}

async fn attempt(context: Arc<Context>, campaign: Arc<CouponCampaign>, uid: String) -> (String, Duration) {
    let stop = timeout(TRY, stop(&context, &campaign, &uid)).await.unwrap_or(Stop::Failed);
    let last = context.memory.update(&uid, |memory| memory.stop.replace((stop, Instant::now())));
    if stop.is_in_force()
        && campaign.metadata.deletion_timestamp.is_none()
        && let Some(mut status) = campaign.status.clone()
    {
        // At once: a pass may hang, or begin later.
        stop.show(&mut status, campaign.metadata.generation.unwrap_or(0), Timestamp::now());
        if let Err(error) = publish::status(&campaign, &context, &uid, status, false).await {
            tracing::warn!(campaign = campaign.name_any(), %error, "that issuing is suspended could not be written to status");
        }
    }
    if last.map(|(last, _)| last) != Some(stop) {
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
    match timeout(REDIS, in_redis(context, campaign, uid)).await {
        Ok(Ok(())) => return Stop::InRedis,
        Ok(Err(error)) => tracing::debug!(campaign = campaign.name_any(), %error, "Redis could not be told to suspend"),
        Err(_) => tracing::debug!(campaign = campaign.name_any(), "Redis did not answer in time"),
    }
    // That takes neither class nor Secret of the platform team: they may be gone, or say nonsense.
    let known = campaign.status.as_ref().and_then(|status| status.epoch).and_then(|epoch| u64::try_from(epoch).ok());
    let told = async {
        let issuers = issuers_of(context, campaign, uid).await?;
        Ok::<_, ReconcileError>(epoch::stop(&issuers, known.unwrap_or(0)).await?)
    };
    match told.await {
        Ok(told) => Stop::ByFence(told),
        Err(error) => {
            tracing::warn!(campaign = campaign.name_any(), %error, "issuers could not be told to stop");
            Stop::Failed
        }
    }
}

/// Suspends in Redis.
async fn in_redis(context: &Context, campaign: &CouponCampaign, uid: &str) -> Result<(), ReconcileError> {
    let (class, systems) = resolve(campaign, context).await?;
    // In another realm they would be another campaign's keys, or none. Without a look at the names in Kafka: whatever they are, the keys are the
    // campaign's.
    class_kept::keeps_realm(campaign, &class)?;
    let id = class::identified(campaign, &class, &systems.settings.operator)?;
    let keys = StockKeys::of(&id);
    context.memory.update(uid, |memory| memory.terms_seen.stop());
    Ok(systems.with_redis(async |redis| stock::suspend(redis, &keys).await).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ConditionType;
    use crate::api::Phase;
    use crate::api::conditions;
    use crate::epoch::Told;
    use crate::reconcile::scene::Scene;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

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
            assert_eq!(is_wanted(&scene.campaign, false, NOW), wanted, "{what}");
        }
        // Users must not win what a deletion could not close.
        for (what, seconds, closed, wanted) in [
            ("it is about to be closed", 3, false, false),
            ("it is not closed", 4, false, true),
            ("it is closed", 60, true, false),
        ] {
            let since = Time(NOW - SignedDuration::from_secs(seconds));
            let leaving = asking().with(|s| {
                s.campaign.spec.suspend = false;
                s.campaign.metadata.deletion_timestamp = Some(since.clone());
            });
            assert_eq!(is_wanted(&leaving.campaign, closed, NOW), wanted, "{what}");
        }
    }

    /// Wrong: users are told that the sale is suspended, and status says Open for as long as a pass hangs.
    #[test]
    fn a_stop_shows_in_status_whatever_a_pass_has_found() {
        let told = Told { fenced: 2, pods: 2 };
        for (stop, before, phase, reason, suspended) in [
            (Stop::InRedis, Phase::Open, Phase::Suspended, Some("Suspended"), true),
            (Stop::InRedis, Phase::SoldOut, Phase::Suspended, Some("Suspended"), true),
            (Stop::ByFence(told), Phase::Open, Phase::Suspended, Some("SuspendedByFence"), false),
            (Stop::InRedis, Phase::Scheduled, Phase::Scheduled, None, true),
        ] {
            let terms = Some(crate::fixtures::terms_status(false));
            let mut status = CouponCampaignStatus { phase: Some(before), terms, ..CouponCampaignStatus::default() };
            stop.show(&mut status, 3, Timestamp::UNIX_EPOCH);
            let open = conditions::find(&status.conditions, ConditionType::Open);
            let found =
                (status.phase, open.map(|open| open.reason.as_str()), status.terms.map(|terms| terms.suspended));
            assert_eq!(found, (Some(phase), reason, Some(suspended)), "{stop:?} {before}");
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
