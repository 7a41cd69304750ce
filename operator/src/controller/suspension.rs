//! Suspends campaigns at once: `suspend: true` is in force within seconds, whichever system does not answer.
//!
//! A reconciliation reads three systems before it decides, and waits for each that hangs; and a change of terms takes a number from the
//! database. Suspending needs neither: campaigns that ask for it are looked for twice a second, and are suspended in Redis or, if Redis
//! does not answer, by fencing their issuers, which then grant nothing until a newer epoch opens. Reconciliations do the rest, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coupon_ledger::redis::{self, RedisKeys};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::api::{CouponCampaign, CouponCampaignStatus};
use crate::class;
use crate::class::pinned;
use crate::context::Context;
use crate::controller::suspension_outcome::DONE;
pub(crate) use crate::controller::suspension_outcome::SuspensionOutcome;
use crate::error::ReconcileError;
use crate::ledger::epoch;
use crate::reconcile::{issuers_of, publish, resolve};

/// How often campaigns are checked for one that asks to be suspended.
const EVERY: Duration = Duration::from_millis(500);
/// How long Redis may take, including the Secrets that say where it is, before the issuers are fenced instead.
const REDIS: Duration = Duration::from_millis(800);
/// How long one attempt may take in all, including Secrets and the list of pods.
const TRY: Duration = Duration::from_secs(5);
/// How long a deletion may take to close a sale before it is suspended here.
const DELETION: SignedDuration = SignedDuration::from_secs(3);
/// Attempts at the same time.
const MOST: usize = 64;

/// Corrects the status that a reconciliation has found which began at `begun`: a system that hangs delays it by many seconds, and
/// issuing may have been suspended meanwhile.
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

/// Whether issuing is to be suspended and is not known to be.
///
/// `closed`: a deletion has closed the sale. A deletion that cannot get that far, because Secrets are missing for example, must not leave
/// the sale open.
fn is_wanted(campaign: &CouponCampaign, closed: bool, now: Timestamp) -> bool {
    let Some(status) = campaign.status.as_ref().filter(|status| status.epoch.is_some()) else { return false };
    if let Some(Time(since)) = &campaign.metadata.deletion_timestamp {
        return !closed && now.duration_since(*since) > DELETION;
    }
    let in_force = status.terms.as_ref().is_some_and(|terms| terms.suspended);
    campaign.spec.suspend && !in_force
}

/// Suspends campaigns that ask for it. Runs until it is dropped, and its attempts with it.
pub(crate) async fn run(context: Arc<Context>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tries = JoinSet::new();
    // `None`: an attempt is running.
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
                    tracing::error!(%error, "an attempt to suspend a campaign panicked");
                    next.clear();
                }
            },
        }
    }
}

fn asks(campaign: &CouponCampaign, context: &Context) -> bool {
    let is_closed = || context.memory.get(&campaign.uid().unwrap_or_default()).closed;
    // Most are neither suspended nor deleted: their memory is not copied.
    let may = campaign.spec.suspend || campaign.metadata.deletion_timestamp.is_some();
    may && is_wanted(campaign, is_closed(), Timestamp::now())
}

async fn attempt(context: Arc<Context>, campaign: Arc<CouponCampaign>, uid: String) -> (String, Duration) {
    let outcome = timeout(TRY, suspend(&context, &campaign, &uid)).await.unwrap_or(SuspensionOutcome::Failed);
    let last = context.memory.update(&uid, |memory| memory.stop.replace((outcome, Instant::now())));
    if outcome.is_in_force()
        && campaign.metadata.deletion_timestamp.is_none()
        && let Some(mut status) = campaign.status.clone()
    {
        // Written here, as a reconciliation may hang, or begin later.
        outcome.show(&mut status, campaign.metadata.generation.unwrap_or(0), Timestamp::now());
        if let Err(error) = publish::status(&campaign, &context, &uid, status, false).await {
            tracing::warn!(campaign = campaign.name_any(), %error, "that issuing is suspended could not be written to status");
        }
    }
    if last.map(|(last, _)| last) != Some(outcome) {
        tracing::warn!(
            namespace = campaign.namespace(),
            campaign = campaign.name_any(),
            ?outcome,
            "suspension was asked for"
        );
    }
    (uid, if outcome == SuspensionOutcome::InRedis { DONE } else { EVERY })
}

async fn suspend(context: &Context, campaign: &CouponCampaign, uid: &str) -> SuspensionOutcome {
    match timeout(REDIS, suspend_in_redis(context, campaign, uid)).await {
        Ok(Ok(())) => return SuspensionOutcome::InRedis,
        Ok(Err(error)) => {
            tracing::debug!(campaign = campaign.name_any(), %error, "the campaign could not be suspended in Redis")
        }
        Err(_) => tracing::debug!(campaign = campaign.name_any(), "Redis did not answer in time"),
    }
    // Fencing needs neither the class nor its Secrets: they may be gone, or invalid.
    let known = campaign.status.as_ref().and_then(|status| status.epoch).and_then(|epoch| u64::try_from(epoch).ok());
    let fencing = async {
        let issuers = issuers_of(context, campaign, uid).await?;
        Ok::<_, ReconcileError>(epoch::fence_all(&issuers, known.unwrap_or(0)).await?)
    };
    match fencing.await {
        Ok(fenced) => SuspensionOutcome::ByFence(fenced),
        Err(error) => {
            tracing::warn!(campaign = campaign.name_any(), %error, "issuers could not be fenced");
            SuspensionOutcome::Failed
        }
    }
}

/// Suspends in Redis.
async fn suspend_in_redis(context: &Context, campaign: &CouponCampaign, uid: &str) -> Result<(), ReconcileError> {
    let (class, systems) = resolve(campaign, context).await?;
    // In another realm they would be another campaign's keys, or none. Without a look at the names in Kafka: whatever they are, the keys are the
    // campaign's.
    pinned::check_realm(campaign, &class)?;
    let id = class::campaign_id(campaign, &class, &systems.settings.operator)?;
    let keys = RedisKeys::of(&id);
    context.memory.update(uid, |memory| memory.terms_seen.stop());
    Ok(systems.with_redis(async |redis| redis::suspend(redis, &keys).await).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ConditionType;
    use crate::api::Phase;
    use crate::api::conditions;
    use crate::ledger::epoch::FencedIssuers;
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
        let told = FencedIssuers { fenced: 2, pods: 2 };
        for (stop, before, phase, reason, suspended) in [
            (SuspensionOutcome::InRedis, Phase::Open, Phase::Suspended, Some("Suspended"), true),
            (SuspensionOutcome::InRedis, Phase::SoldOut, Phase::Suspended, Some("Suspended"), true),
            (SuspensionOutcome::ByFence(told), Phase::Open, Phase::Suspended, Some("SuspendedByFence"), false),
            (SuspensionOutcome::InRedis, Phase::Scheduled, Phase::Scheduled, None, true),
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
            assert_eq!(
                SuspensionOutcome::ByFence(FencedIssuers { fenced, pods }).is_by_fence(),
                expected,
                "{fenced} of {pods}"
            );
        }
        assert!(!SuspensionOutcome::InRedis.is_by_fence() && !SuspensionOutcome::Failed.is_by_fence());
    }
}
