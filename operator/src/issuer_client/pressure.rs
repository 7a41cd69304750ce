//! Reads the load of the issuers: asks each pod, and computes rates from what it counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coupon_core::contract::control::PRESSURE_PATH;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

pub(crate) use crate::issuer_client::counts::{Counts, Pressure};
use crate::issuer_client::pods::PodClient;
use crate::issuer_client::serving::Answers;
use crate::ledger::epoch::control_url;
use crate::workloads::ControlTokens;

/// How long a pod may take to answer: one that takes longer is not waited for.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Asks all of these pods that are ready, by UID. `None`: that one did not answer.
pub(crate) async fn fetch(http: &PodClient, tokens: &ControlTokens, pods: &[Arc<Pod>]) -> Answers {
    let ready = pods.iter().filter(|pod| is_ready(pod));
    let answers = join_all(ready.map(async |pod| {
        let answer = async {
            let ip = pod.status.as_ref()?.pod_ip.as_deref()?;
            let request = http.get(control_url(ip, PRESSURE_PATH)).timeout(TIMEOUT);
            tokens.send(request).await.ok()?.error_for_status().ok()?.json::<Pressure>().await.ok()
        };
        Some((pod.uid()?, answer.await))
    }));
    answers.await.into_iter().flatten().collect()
}

/// What all of them report; `None` if one did not answer.
pub(crate) fn all_of(answers: &Answers) -> Option<BTreeMap<String, Pressure>> {
    answers.iter().map(|(uid, answer)| Some((uid.clone(), answer.clone()?))).collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::issuers::Load;

    fn pod(queue_depth: u64, rejected: u64, answered: u64) -> Pressure {
        Pressure { queue_depth, queue_capacity: 100, rejected, delayed: 10 * rejected, answered, ..Pressure::default() }
    }

    fn pods(all: &[(&str, Pressure)]) -> BTreeMap<String, Pressure> {
        all.iter().map(|(uid, pressure)| ((*uid).to_owned(), pressure.clone())).collect()
    }

    #[test]
    fn a_connection_that_was_refused_is_a_request_that_was() {
        let mut counts = Counts::default();
        let report = |refused| pods(&[("a", Pressure { refused, ..pod(0, 0, 0) })]);
        counts.update(0, report(10));
        assert!((counts.update(1_000, report(30)).unwrap().rejected - 20.0).abs() < f64::EPSILON);
    }

    #[test]
    fn rates_are_the_difference_of_two_reports() {
        let mut counts = Counts::default();
        assert_eq!(counts.update(0, pods(&[("a", pod(0, 0, 100))])), None);
        let now = pods(&[("a", pod(10, 4, 300)), ("b", pod(60, 50, 9_000))]);
        let load = counts.update(2_000, now).unwrap();
        assert_eq!(
            load,
            Load { answered: 100.0, rejected: 2.0, delayed: 20.0, fill: 0.6 },
            "a pod that is new has no rate yet"
        );
        let load = counts.update(4_000, pods(&[("b", pod(0, 50, 9_400))])).unwrap();
        assert_eq!(
            load,
            Load { answered: 200.0, rejected: 0.0, delayed: 0.0, fill: 0.0 },
            "a pod that is gone has none any more"
        );
    }

    #[test]
    fn a_process_that_began_anew_counts_from_zero_and_a_long_silence_says_nothing() {
        let mut counts = Counts::default();
        counts.update(0, pods(&[("a", pod(0, 0, 100))]));
        assert_eq!(counts.update(2_000, pods(&[("a", pod(0, 0, 7))])).unwrap().answered, 0.0);
        assert_eq!(counts.update(60_000, pods(&[("a", pod(0, 0, 9))])), None);
        assert_eq!(counts.update(60_100, pods(&[("a", pod(0, 0, 9))])), None, "too close together");
    }
}
