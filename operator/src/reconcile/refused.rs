//! A right in Kafka that is lost in the middle of a sale. Whatever meets it first reports it, and the class is measured again at once: that look
//! names right and user, for all campaigns.

use coupon_kafka_admin::{AdminError, says_missing_right};

use super::ReconcileContext;
use super::observe::Observation;
use super::report::Ailing;
use crate::class::measure::fault::Fault;
use crate::class::measure::{Measured, user_of};
use crate::issuer_client::serving::{Answers, kafka_refuses};

/// What issuers met, as a sentence for people.
pub(super) fn by_issuers(pass: &ReconcileContext<'_>, answers: &Answers) -> Option<String> {
    let said = kafka_refuses(answers)?.to_owned();
    // Pods keep the login that they have until a newer one is known to work.
    let given = pass.memory.update(|memory| memory.pods.connections.as_ref().map(|given| user_of(&given.kafka)));
    let user = given.unwrap_or_else(|| user_of(&pass.systems.settings.workload.kafka));
    let fault = Fault::KafkaRight { user, operation: "Write", resource: format!("topic {}", pass.id.topic()), said };
    Some(format!("issuers store winners in the database: {fault}"))
}

/// Has the class looked at again, if something in this pass tells of a right that its last look did not miss.
pub(super) fn doubt(
    pass: &ReconcileContext<'_>,
    seen: &Observation,
    answers: &Answers,
    ailing: &Ailing,
    measured: Option<&Measured>,
) {
    let stands = pass.memory.update(|memory| memory.still.suspects());
    if measured.is_some_and(|found| !found.lacks_kafka_rights()) && is_met(seen, answers, ailing, stands) {
        pass.context.doubt(pass.systems);
    }
}

/// `stands`: consumers are ready, and store nothing of what waits.
fn is_met(seen: &Observation, answers: &Answers, ailing: &Ailing, stands: bool) -> bool {
    let refused = |error: &AdminError| matches!(error, AdminError::NotAuthorized { .. });
    let by_operator = match &seen.kafka {
        Err(error) => refused(error),
        Ok(kafka) => kafka.unread.as_ref().is_some_and(refused),
    };
    let mut pods = [&ailing.issuer, &ailing.consumer].into_iter().flatten();
    by_operator || stands || kafka_refuses(answers).is_some() || pods.any(|cause| says_missing_right(&cause.text))
}

#[cfg(test)]
mod tests {
    use super::super::scene::Scene;
    use super::*;
    use crate::diagnosis::NotReadyCause;
    use crate::issuer_client::pressure::Pressure;

    /// Wrong: a right that goes in the middle of a sale is named with the next look at the class, up to a minute later; or each failure of
    /// Kafka has the class looked at.
    #[test]
    fn whoever_meets_a_missing_right_has_the_class_looked_at() {
        let refused = || AdminError::NotAuthorized { resource: "topic t".to_owned(), cause: "no".to_owned() };
        let away = || AdminError::Unreachable {
            bootstrap: "kafka:9092".to_owned(),
            deadline: std::time::Duration::from_secs(2),
            cause: "Connection refused".to_owned(),
        };
        let issuer = |kafka_refuses: Option<&str>| {
            let pressure = Pressure { kafka_refuses: kafka_refuses.map(str::to_owned), ..Pressure::default() };
            Answers::from([("silent".to_owned(), None), ("a".to_owned(), Some(pressure))])
        };
        let consumer = |text: &str| Ailing {
            consumer: Some(NotReadyCause { reason: "PodsNotReady", text: text.to_owned(), is_starting: false }),
            ..Ailing::default()
        };
        let well = || Scene::open().observation();
        let kafka = |error: AdminError| {
            let mut seen = well();
            seen.kafka = Err(error);
            seen
        };
        let unread = |error: AdminError| {
            let mut seen = well();
            seen.kafka.as_mut().unwrap().unread = Some(error);
            seen
        };
        let (none, fine) = (issuer(None), Ailing::default());
        for (what, seen, answers, ailing, stands, expected) in [
            ("nothing", well(), &none, &fine, false, false),
            ("Kafka is away", kafka(away()), &none, &fine, false, false),
            ("the operator may not look", kafka(refused()), &none, &fine, false, true),
            ("the operator may not read offsets", unread(refused()), &none, &fine, false, true),
            ("an issuer may not write", well(), &issuer(Some("Topic authorization failed")), &fine, false, true),
            (
                "a consumer may not join",
                well(),
                &none,
                &consumer("not in the consumer group yet: Broker: Group authorization failed"),
                false,
                true,
            ),
            ("a consumer waits for the database", well(), &none, &consumer("the database is away"), false, false),
            ("consumers store nothing", well(), &none, &fine, true, true),
        ] {
            assert_eq!(is_met(&seen, answers, ailing, stands), expected, "{what}");
        }
    }
}
