//! Events that are published once for as long as their cause lasts.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::ReconcileContext;
use super::observe::LedgerView;
use super::pause::Pause;
use crate::events;
use crate::kafka::view::KafkaView;
use crate::reconcile::report::{DEAD_LETTERS, NEWER_RECORD, above_total, contradicted, dead_unread};
use crate::workloads::Component;
use crate::workloads::additions::additions;

impl ReconcileContext<'_> {
    /// Tells what others did, or do, that is not ours to change; once.
    pub(super) async fn notice(&self, subject: &'static str, text: Option<&str>) {
        if self.is_new(subject, text) {
            events::note(self.context, self.campaign, subject, text.unwrap_or_default()).await;
        }
    }

    /// The same of what somebody should look at.
    pub(super) async fn caution(&self, subject: &'static str, text: Option<&str>) {
        if self.is_new(subject, text) {
            events::warn(self.context, self.campaign, subject, text.unwrap_or_default()).await;
        }
    }

    /// Rows that were there and are not: they come back from Redis and Kafka, and people should find out why they went.
    pub(super) async fn warn_of_vanished_rows(&self, ledger: Option<&LedgerView>) {
        let Some(ledger) = ledger.filter(|ledger| ledger.row.is_some()) else { return };
        let text = "the database has fewer rows of this campaign than it had: somebody has deleted some, or put a backup back; they are \
                    published again as far as Redis and Kafka have them";
        self.caution("RowsVanished", (ledger.stored < ledger.had).then_some(text)).await;
    }

    /// Winners that are dead letters and no rows, where that they become more is no news; and a letter over which no repair would succeed.
    pub(super) async fn warn_of_dead_letters(&self, kafka: Option<&KafkaView>) {
        let unread = kafka.and_then(|kafka| dead_unread(self.id, kafka)).filter(|(reason, _)| *reason == NEWER_RECORD);
        if kafka.is_some_and(|kafka| kafka.dead_ranks.is_some()) || unread.is_some() {
            self.caution(NEWER_RECORD, unread.as_ref().map(|(_, text)| text.as_str())).await;
        }
        if kafka.is_some_and(|kafka| kafka.contradicted.is_some()) {
            let text = kafka.and_then(contradicted);
            self.caution("DeadLettersContradicted", text.as_deref()).await;
        }
        if kafka.is_some_and(|kafka| kafka.above_total.is_some()) {
            // Not how many: each answer that is repeated becomes one more.
            let text = "dead letters name ranks above the total: condition LedgerConsistent says what that may be, and what to do";
            let are_there = kafka.and_then(above_total).is_some();
            self.caution("DeadLettersAboveTotal", are_there.then_some(text)).await;
        }
        let Some(stranded) = kafka.and_then(|kafka| kafka.stranded) else { return };
        let text = "winners that were told a rank are dead letters and no rows: condition LedgerConsistent says how many, and \
                    `coupon-consumer dead-letters list` why";
        self.caution(DEAD_LETTERS, (stranded > 0).then_some(text)).await;
    }

    fn is_new(&self, subject: &'static str, text: Option<&str>) -> bool {
        self.memory.update(|memory| memory.events.is_new(subject, text))
    }

    /// What others have put into the pods of a Deployment: it stays and costs nothing, but people on call should know of it.
    pub(super) async fn note_additions(&self, component: Component, found: Option<&Deployment>, wanted: &Deployment) {
        let Some(found) = found else { return };
        let subject = match component {
            Component::Issuer => "IssuersExtended",
            Component::Consumer => "ConsumersExtended",
        };
        let name = found.name_any();
        let these = additions(found, wanted).join(", ");
        let text = format!("others have added to the pods of Deployment {name}: {these}; this is left as it is");
        self.notice(subject, Some(text.as_str()).filter(|_| !these.is_empty())).await;
    }

    /// What the campaign's annotation says about the numbers of pods.
    pub(super) async fn note_pause(&self) {
        let pause = Pause::of(self.campaign);
        let text = |meant: bool| {
            let this = pause.filter(|pause| matches!(pause, Pause::NotUnderstood(_)) != meant);
            this.map(Pause::text)
        };
        self.notice("ScalingPaused", text(true).as_deref()).await;
        self.caution("PauseNotUnderstood", text(false).as_deref()).await;
    }
}

#[cfg(test)]
mod tests {
    use crate::reconcile::event_log::EventLog;

    #[test]
    fn what_lasts_is_told_once() {
        let mut told = EventLog::default();
        for (what, subject, text, news) in [
            ("new", "Paused", Some("in"), true),
            ("the same", "Paused", Some("in"), false),
            ("another subject", "Other", Some("in"), true),
            ("changed", "Paused", Some("out"), true),
            ("over", "Paused", None, false),
            ("again", "Paused", Some("out"), true),
        ] {
            assert_eq!(told.is_new(subject, text), news, "{what}");
        }
    }
}
