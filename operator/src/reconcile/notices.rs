//! What events tell once, as long as it lasts.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::Pass;
use super::observe::LedgerView;
use super::pause::Pause;
pub(crate) use super::told::Told;
use crate::children::Component;
use crate::children::additions::additions;
use crate::events;
use crate::log_view::LogView;
use crate::reconcile::report::{DEAD_LETTERS, NEWER_RECORD, contradicted, dead_unread};

impl Pass<'_> {
    /// Tells what others did, or do, that is not ours to change; once.
    pub(super) async fn notice(&self, subject: &'static str, text: Option<&str>) {
        if self.is_news(subject, text) {
            events::note(self.context, self.campaign, subject, text.unwrap_or_default()).await;
        }
    }

    /// The same of what somebody should look at.
    pub(super) async fn caution(&self, subject: &'static str, text: Option<&str>) {
        if self.is_news(subject, text) {
            events::warn(self.context, self.campaign, subject, text.unwrap_or_default()).await;
        }
    }

    /// Rows that were there and are not: they come back from Redis and Kafka, and whoever took them away should be looked for.
    pub(super) async fn tell_vanished_rows(&self, ledger: Option<&LedgerView>) {
        let Some(ledger) = ledger.filter(|ledger| ledger.row.is_some()) else { return };
        let text = "the database has fewer rows of this campaign than it had: somebody has deleted some, or put a backup back; they are \
                    published again as far as Redis and Kafka have them";
        self.caution("RowsVanished", (ledger.stored < ledger.had).then_some(text)).await;
    }

    /// Winners that are dead letters and no rows, where that they become more is no news; and a letter over which no repair would succeed.
    pub(super) async fn tell_dead_letters(&self, log: Option<&LogView>) {
        let unread = log.and_then(|log| dead_unread(self.id, log)).filter(|(reason, _)| *reason == NEWER_RECORD);
        if log.is_some_and(|log| log.dead_ranks.is_some()) || unread.is_some() {
            self.caution(NEWER_RECORD, unread.as_ref().map(|(_, text)| text.as_str())).await;
        }
        if log.is_some_and(|log| log.contradicted.is_some()) {
            let text = log.and_then(contradicted);
            self.caution("DeadLettersContradicted", text.as_deref()).await;
        }
        let Some(stranded) = log.and_then(|log| log.stranded) else { return };
        let text = "winners that were told a rank are dead letters and no rows: condition LedgerConsistent says how many, and \
                    `coupon-consumer dead-letters list` why";
        self.caution(DEAD_LETTERS, (stranded > 0).then_some(text)).await;
    }

    fn is_news(&self, subject: &'static str, text: Option<&str>) -> bool {
        self.context.memory.update(self.uid, |memory| memory.told.is_news(subject, text))
    }

    /// What others have put into the pods of a Deployment: it stays and costs nothing, but people on call should know of it.
    pub(super) async fn tell_additions(&self, component: Component, found: Option<&Deployment>, wanted: &Deployment) {
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
    pub(super) async fn tell_pause(&self) {
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
    use super::*;

    #[test]
    fn what_lasts_is_told_once() {
        let mut told = Told::default();
        for (what, subject, text, news) in [
            ("new", "Paused", Some("in"), true),
            ("the same", "Paused", Some("in"), false),
            ("another subject", "Other", Some("in"), true),
            ("changed", "Paused", Some("out"), true),
            ("over", "Paused", None, false),
            ("again", "Paused", Some("out"), true),
        ] {
            assert_eq!(told.is_news(subject, text), news, "{what}");
        }
    }
}
