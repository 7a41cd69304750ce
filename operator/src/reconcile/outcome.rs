//! What becomes of a pass: how long it may take, what a panic in it is, and when it is tried again after a failure.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::BUSY;
use super::supply::Window;
use crate::api::{CouponCampaign, Phase};
use crate::backoff;
use crate::context::Context;
use crate::epoch::EpochError;
use crate::error::{ReconcileError, Retry};
use crate::events;

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

/// Says what went wrong, once per cause, and when to try again.
pub(super) async fn failed(campaign: &CouponCampaign, context: &Context, uid: &str, error: &ReconcileError) -> Action {
    if error.is_overtaken() {
        tracing::debug!(campaign = campaign.name_any(), %error, "overtaken; looking again");
        return Action::requeue(OVERTAKEN);
    }
    let text = crate::error::advice(error);
    let (failures, new) = context.memory.update(uid, |memory| {
        memory.failures += 1;
        let new = is_worth_a_warning(error, memory.failures) && memory.warned.as_ref() != Some(&text);
        if new {
            memory.warned = Some(text.clone());
        }
        (memory.failures, new)
    });
    if new {
        tracing::warn!(
            namespace = campaign.namespace(),
            campaign = campaign.name_any(),
            reason = error.reason(),
            "{text}"
        );
        events::warn(context, campaign, error.reason(), &text).await;
    }
    let memory = context.memory.get(uid);
    if let Some(pause) = pause_after_epochs(error, memory.allotted, memory.burnt) {
        return Action::requeue(pause);
    }
    let pause = match error.retry() {
        Retry::OnChange => None,
        Retry::After(pause) => Some(pause),
        Retry::Backoff => Some(backoff::pause(failures).min(longest_pause(campaign))),
    };
    let window = Window::of_blind_pass(campaign);
    in_time_for(window, pause, Timestamp::now().as_millisecond()).map_or_else(Action::await_change, Action::requeue)
}

/// The pause, or what is left until status has something else to say of the window: that it has begun, for how long users have been turned
/// away, that it is over. `None`: until something changes.
fn in_time_for(window: Window, pause: Option<Duration>, now_ms: i64) -> Option<Duration> {
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
fn pause_after_epochs(error: &ReconcileError, allotted: bool, burnt: u32) -> Option<Duration> {
    let in_vain = match error {
        ReconcileError::Epoch(EpochError::RepairBlocked { .. }) => false,
        ReconcileError::Epoch(_) | ReconcileError::PassTimeout => allotted,
        _ => false,
    };
    (in_vain && burnt > 1).then(|| backoff::epoch_pause(burnt))
}

/// While people wait for coupons, or rows for the consumers, a system that is back must not wait for us.
fn longest_pause(campaign: &CouponCampaign) -> Duration {
    match campaign.status.as_ref().and_then(|status| status.phase) {
        Some(Phase::Open | Phase::SoldOut | Phase::Repairing | Phase::Draining) => BUSY,
        _ => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use campaign::log::admin::AdminError;
    use rdkafka::types::RDKafkaErrorCode;

    use super::*;

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
        for (error, allotted, burnt, at_least) in [
            (epoch(EpochError::RedisChanged), true, 1, None),
            (epoch(EpochError::RedisChanged), true, 2, Some(0.75)),
            (epoch(EpochError::RedisChanged), true, 4, Some(3.0)),
            (epoch(EpochError::RedisChanged), true, 100, Some(22.5)),
            (ReconcileError::PassTimeout, true, 4, Some(3.0)),
            (epoch(EpochError::RedisChanged), false, 4, None),
            (epoch(blocked()), true, 4, None),
            (ReconcileError::Repair(String::new()), true, 4, None),
        ] {
            let pause = pause_after_epochs(&error, allotted, burnt).map(|pause| pause.as_secs_f64());
            assert_eq!(pause.is_some(), at_least.is_some(), "{error}, {burnt}");
            assert!(
                pause.zip(at_least).is_none_or(|(pause, least)| (least..=37.5).contains(&pause)),
                "{error}, {burnt}"
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
        let window = Window { start_ms: 100_000, end_ms: 200_000 };
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
