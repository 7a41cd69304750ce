//! How a pass ends: how long it may take, what a panic in it is, and when it is tried again after a failure.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::epochs::EpochWatch;
use super::failed_pass;
use super::reconcile_context::BUSY;
use super::stopped::Stopped;
use super::supply::WindowMs;
use crate::api::{CouponCampaign, Phase};
use crate::context::Context;
use crate::controller::backoff;
use crate::error::{ReconcileError, Retry};
use crate::events;
use crate::ledger::epoch::EpochError;
use crate::metrics::{CampaignLabels, OutcomeLabels};

/// Longest pass: above a fence, the reading of a long log and the filling of Redis together.
const PASS_DEADLINE: Duration = Duration::from_secs(300);
/// And for each coupon: reading and writing a winner takes some 10 us on an idle machine. For ten million, 15 minutes in all.
const PASS_DEADLINE_PER_COUPON: Duration = Duration::from_micros(60);
/// While users are turned away, status says so this often, though nothing else has changed.
const TURNED_AWAY: Duration = Duration::from_secs(10);
/// So many failures in a row may be about to pass.
const PASSING_TRIES: u32 = 4;
/// After somebody else wrote, or removed, what a pass was about to write.
const OVERTAKEN: Duration = Duration::from_millis(500);

/// A panic in a pass is that campaign's: it is reported and tried again, like any failure. (Left alone, the controller's own
/// task would end with it, and with that every other campaign.) What passes share is whole between any two statements, and a
/// pass that stops anywhere is what the protocol is made for.
pub(crate) async fn contain<T>(pass: impl Future<Output = T>) -> Result<T, ReconcileError> {
    AssertUnwindSafe(pass).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        ReconcileError::Panic(text.unwrap_or_else(|| "a panic without words".to_owned()))
    })
}

/// How long a pass over a campaign of so many coupons may take.
pub(crate) fn deadline(total: i64) -> Duration {
    let coupons = u32::try_from(total.max(0)).unwrap_or(u32::MAX);
    PASS_DEADLINE + PASS_DEADLINE_PER_COUPON * coupons
}

/// Runs a pass to its end: within its deadline, and with a panic as its failure. What went wrong is in status, metrics and an event when
/// this returns.
///
/// # Errors
/// Those of the pass, [`ReconcileError::PassTimeout`] and [`ReconcileError::Panic`]. [`error_policy`] says when it is tried again.
pub(super) async fn run_to_end(
    campaign: &CouponCampaign,
    context: &Context,
    uid: &str,
    pass: impl Future<Output = Result<Action, Stopped>>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    // A pass that hangs would hold its campaign for ever. Dropping one is like a crash, which the protocol is made for.
    let guarded = contain(tokio::time::timeout(deadline(campaign.spec.total_quantity), pass));
    let result = match guarded.await {
        Ok(Ok(finished)) => finished,
        Ok(Err(_)) => Err(ReconcileError::PassTimeout.into()),
        Err(panicked) => Err(panicked.into()),
    };
    if let Err(Stopped { error, is_reported: false }) = &result {
        failed_pass::write_status(campaign, context, uid, error, started).await;
    }
    let result = result.map_err(|stopped| stopped.error);
    context.metrics.duration.observe(started.elapsed().as_secs_f64());
    let outcome = result.as_ref().map_or_else(ReconcileError::reason, |_| "success");
    context.metrics.reconciliations.get_or_create(&OutcomeLabels { outcome: outcome.to_owned() }).inc();
    match &result {
        Ok(_) => context.metrics.campaigns.passed(&CampaignLabels::of(campaign), Timestamp::now().as_second()),
        Err(error) => count_failure(campaign, context, uid, error).await,
    }
    result
}

/// Counts a failure, and warns of it once per cause.
async fn count_failure(campaign: &CouponCampaign, context: &Context, uid: &str, error: &ReconcileError) {
    if error.is_overtaken() {
        tracing::debug!(campaign = campaign.name_any(), %error, "overtaken; looking again");
        return;
    }
    let text = crate::error::advice(error);
    let deserves = |failures| is_worth_a_warning(error, failures);
    let is_new = context.memory.update(uid, |memory| memory.failures.add(&text, deserves));
    if is_new {
        tracing::warn!(
            namespace = campaign.namespace(),
            campaign = campaign.name_any(),
            reason = error.reason(),
            "{text}"
        );
        events::warn(context, campaign, error.reason(), &text).await;
    }
}

/// When a pass that has failed is tried again.
pub(crate) fn error_policy(campaign: &CouponCampaign, error: &ReconcileError, context: &Context) -> Action {
    if error.is_overtaken() {
        return Action::requeue(OVERTAKEN);
    }
    let uid = campaign.uid().unwrap_or_default();
    let (failures, pause) = context.memory.update(&uid, |memory| {
        (memory.failures.count(), pause_after_epochs(error, &mut memory.epochs, Instant::now()))
    });
    if let Some(pause) = pause {
        return Action::requeue(pause);
    }
    let pause = match error.retry() {
        Retry::OnChange => None,
        Retry::After(pause) => Some(pause),
        Retry::Backoff => Some(backoff::pause(failures).min(longest_pause(campaign))),
    };
    let window = WindowMs::of_blind_pass(campaign);
    in_time_for(window, pause, Timestamp::now().as_millisecond()).map_or_else(Action::await_change, Action::requeue)
}

/// The pause, or what is left until status has something else to say of the window: that it has begun, for how long users have been turned
/// away, that it is over. `None`: until something changes.
fn in_time_for(window: WindowMs, pause: Option<Duration>, now_ms: i64) -> Option<Duration> {
    let until = |at_ms: i64| u64::try_from(at_ms - now_ms).ok().map(|ms| Duration::from_millis(ms + 5));
    let next = match now_ms {
        _ if now_ms < window.start_ms => until(window.start_ms),
        _ if window.contains(now_ms) => until(window.end_ms).map(|left| left.min(TURNED_AWAY)),
        _ => None,
    };
    pause.into_iter().chain(next).min()
}

/// Whether people should hear of a failure, the `failures`th in a row: what passes by itself within some tries is nothing that a healthy
/// campaign should be seen to warn of.
fn is_worth_a_warning(error: &ReconcileError, failures: u32) -> bool {
    !error.is_passing() || failures > PASSING_TRIES
}

/// The pause after an epoch that was allotted and not opened, from the second in a row on. Not for a pod that must be waited for:
/// that is waiting, and ends any moment.
fn pause_after_epochs(error: &ReconcileError, epochs: &mut EpochWatch, now: Instant) -> Option<Duration> {
    match error {
        ReconcileError::Epoch(EpochError::RepairBlocked { .. }) => {
            epochs.goes_on();
            None
        }
        ReconcileError::Epoch(_) | ReconcileError::PassTimeout => epochs.failed(now),
        _ => None,
    }
}

/// While people wait for coupons, or rows for the consumers, a system that is back must not wait for us.
fn longest_pause(campaign: &CouponCampaign) -> Duration {
    match campaign.status.as_ref().and_then(|status| status.phase) {
        // A sale that is suspended goes on any moment.
        Some(Phase::Open | Phase::SoldOut | Phase::Suspended | Phase::Repairing | Phase::Draining) => BUSY,
        _ => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use coupon_kafka_admin::AdminError;
    use rdkafka::types::RDKafkaErrorCode;
    use serde_json::json;

    use super::*;
    use crate::fixtures;
    use crate::reconcile::scene::Scene;

    /// Wrong: a pass that failed leaves the status of before, all green; or its panic ends the process, and with it every campaign.
    #[tokio::test(start_paused = true)]
    async fn whatever_becomes_of_a_pass_status_says_so_and_others_go_on() {
        async fn pass(ends: &str) -> Result<Action, Stopped> {
            match ends {
                "LedgerMoved" => Err(ReconcileError::LedgerMoved.into()),
                "InternalError" => std::panic::panic_any("attempt to add with overflow"),
                _ => std::future::pending().await,
            }
        }
        let campaign = Scene::open().campaign;
        for reason in ["LedgerMoved", "InternalError", "PassTimeout"] {
            let (context, sent) = fixtures::context();
            let error = run_to_end(&campaign, &context, "0001", pass(reason)).await.unwrap_err();
            let action = error_policy(&campaign, &error, &context);
            assert_ne!(action, Action::await_change(), "{reason}: it is tried again");
            let sent = sent.lock().unwrap().clone();
            let status = sent.iter().find(|(path, _)| path.contains("/couponcampaigns/spring/status?"));
            let (_, status) = status.unwrap_or_else(|| panic!("{reason}: nothing is written: {sent:?}"));
            let ready = status["status"]["conditions"].as_array().unwrap().iter().find(|each| each["type"] == "Ready");
            assert_eq!(ready.map(|ready| &ready["reason"]), Some(&json!(reason)), "{status}");
        }
    }

    /// Else one object that meets a fault of ours would end the passes of all.
    #[tokio::test]
    async fn a_panic_in_a_pass_is_that_passes_failure() {
        async fn pass(words: Option<&'static str>) -> u32 {
            match words {
                Some(words) => std::panic::panic_any(words.to_owned()),
                None => 7,
            }
        }
        assert_eq!(contain(pass(None)).await.unwrap(), 7);
        let error = contain(pass(Some("attempt to add with overflow"))).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), ("InternalError", Retry::Backoff));
        assert!(error.to_string().contains("attempt to add with overflow"), "{error}");
    }

    /// Wrong: a sum over what came from outside is an error in tests, and wraps to another number in what people run.
    #[test]
    fn release_builds_check_sums() {
        let manifest = include_str!("../../../Cargo.toml");
        let release = manifest.split("[profile.release]").nth(1).unwrap().split("\n[").next().unwrap();
        assert!(release.lines().any(|line| line == "overflow-checks = true"), "{release}");
    }

    /// Wrong: an epoch is allotted every two seconds for as long as a ledger cannot be read.
    #[test]
    fn epochs_in_vain_are_begun_at_growing_pauses() {
        let epoch = |error| ReconcileError::Epoch(error);
        let blocked = || EpochError::RepairBlocked { pod: String::new(), uid: String::new(), node: String::new() };
        let timeout = || ReconcileError::PassTimeout;
        for (error, allotted, times, at_least) in [
            (epoch(EpochError::RedisChanged), true, 1, None),
            (epoch(EpochError::RedisChanged), true, 2, Some(0.75)),
            (epoch(EpochError::RedisChanged), true, 4, Some(3.0)),
            (epoch(EpochError::RedisChanged), true, 100, Some(22.5)),
            (timeout(), true, 4, Some(3.0)),
            (epoch(EpochError::RedisChanged), false, 4, None),
            (epoch(blocked()), true, 4, None),
            (ReconcileError::Repair(String::new()), true, 4, None),
        ] {
            let (mut epochs, now) = (EpochWatch::default(), Instant::now());
            let mut pauses = (0..times).map(|_| {
                if allotted {
                    epochs.allotted();
                }
                pause_after_epochs(&error, &mut epochs, now).map(|pause| pause.as_secs_f64())
            });
            let pause = pauses.by_ref().last().flatten();
            assert_eq!(pause.is_some(), at_least.is_some(), "{error}, {times}");
            assert!(
                pause.zip(at_least).is_none_or(|(pause, least)| (least..=37.5).contains(&pause)),
                "{error}, {times}"
            );
        }
    }

    /// Wrong: the first campaign on a fresh Kafka begins with warnings, though nothing is wrong.
    #[test]
    fn what_passes_by_itself_is_no_warning_until_it_does_not_pass() {
        let settling = || AdminError::Other {
            resource: "topic t".to_owned(),
            code: RDKafkaErrorCode::NotLeaderForPartition,
            message: "Broker: Not leader for partition".to_owned(),
        };
        assert_eq!(settling().reason(), "KafkaSettling");
        for (error, failures, expected) in [
            (ReconcileError::Kafka(settling()), 1, false),
            (ReconcileError::Epoch(EpochError::Kafka(settling())), PASSING_TRIES, false),
            (ReconcileError::Kafka(settling()), PASSING_TRIES + 1, true),
            (ReconcileError::PassTimeout, 1, true),
        ] {
            assert_eq!(is_worth_a_warning(&error, failures), expected, "{error}, {failures}");
        }
    }

    /// Wrong: a campaign without a class is looked at when the class comes, and nothing is said, or counted, of the window until then.
    #[test]
    fn what_waits_for_a_change_is_looked_at_when_its_window_begins_and_while_it_is_open() {
        let window = WindowMs { start_ms: 100_000, end_ms: 200_000 };
        let seconds = Duration::from_secs;
        for (now_ms, pause, expected) in [
            (40_000, None, Some(Duration::from_millis(60_005))),
            (40_000, Some(seconds(5)), Some(seconds(5))),
            (99_000, Some(seconds(5)), Some(Duration::from_millis(1_005))),
            (100_000, None, Some(TURNED_AWAY)),
            (150_000, Some(seconds(300)), Some(TURNED_AWAY)),
            (198_000, None, Some(Duration::from_millis(2_005))),
            (200_000, None, None),
            (200_000, Some(seconds(300)), Some(seconds(300))),
        ] {
            assert_eq!(in_time_for(window, pause, now_ms), expected, "{now_ms} {pause:?}");
        }
    }

    #[test]
    fn a_large_campaign_has_time_to_be_repaired() {
        assert_eq!(deadline(1).as_secs(), 300);
        assert_eq!(deadline(10_000_000).as_secs(), 900);
    }
}
