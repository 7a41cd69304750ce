//! Which alerts fired, whom they reached, and when they ended. Pure. Times are milliseconds since 1970.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use stack_monitoring::message::{Message, Service};

/// The team that the routes of the project's example give a chat of its own.
pub const TEAM: &str = "checkout";

/// An alert of a campaign, or of none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// How bad it is.
    pub severity: String,
    /// Whose it is.
    pub team: String,
    /// `namespace/campaign`; empty if it is about none.
    pub campaign: String,
}

impl Alert {
    /// By its labels.
    pub fn of(labels: &Value) -> Self {
        let label = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
        let (namespace, campaign) = (label("namespace"), label("campaign"));
        Self {
            name: label("alertname"),
            severity: label("severity"),
            team: label("team"),
            campaign: if campaign.is_empty() { campaign } else { format!("{namespace}/{campaign}") },
        }
    }

    /// Where the routes of the project's example send it. PagerDuty has no channels.
    fn destinations(&self) -> Vec<(Service, &'static str)> {
        let chat = (Service::Slack, if self.team == TEAM { "#checkout" } else { "#coupons" });
        if self.severity == "critical" { vec![(Service::PagerDuty, ""), chat] } else { vec![chat] }
    }

    fn is_meant(&self, message: &Message) -> bool {
        message.alert == self.name && message.text.contains(&self.campaign)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, severity, campaign, .. } = self;
        write!(f, "{name} ({severity}{}{campaign})", if campaign.is_empty() { "" } else { ", " })
    }
}

/// When an alert was seen to fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// For the first time.
    pub first_ms: u64,
    /// For the last time.
    pub last_ms: u64,
    /// Whether it fires still.
    pub fires: bool,
    /// The alerts that kept it from being sent.
    pub inhibited_by: BTreeSet<String>,
}

/// What somebody heard of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// By which service.
    pub service: Service,
    /// In which channel.
    pub channel: &'static str,
    /// When it was said to fire.
    pub fires_ms: u64,
    /// When it was said to be over, if that is what was said last.
    pub over_ms: Option<u64>,
}

/// What was to be seen at one moment.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// When.
    pub at_ms: u64,
    /// What fires.
    pub firing: BTreeSet<Alert>,
    /// What Alertmanager inhibits, and the alerts for the sake of which.
    pub inhibited: BTreeMap<Alert, BTreeSet<String>>,
    /// All that was ever sent.
    pub messages: Vec<Message>,
}

/// What is new at one moment, as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An alert fires.
    Fires(Alert),
    /// It fires, and another one keeps it from being sent.
    Inhibited(Alert, String),
    /// Somebody was told.
    Told(Message),
    /// It fires no more.
    Ends(Alert),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fires(alert) => write!(f, "fires: {alert}"),
            Self::Inhibited(alert, by) => write!(f, "inhibited by {by}: {alert}"),
            Self::Told(Message { service, to, alert, resolved, .. }) => {
                let said = if *resolved { "is over" } else { "fires" };
                match service {
                    Service::Slack => write!(f, "Slack {to} is told: {alert} {said}"),
                    Service::PagerDuty => write!(f, "PagerDuty is told: {alert} {said}"),
                }
            }
            Self::Ends(alert) => write!(f, "ends: {alert}"),
        }
    }
}

/// A part of the time: what happens in it, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// What happens.
    pub name: String,
    /// From when on.
    pub begun_ms: u64,
    /// Until when.
    pub ended_ms: u64,
    /// The alerts that fired.
    pub alerts: BTreeMap<Alert, Seen>,
    /// What was sent.
    pub messages: Vec<Message>,
}

impl Chapter {
    /// One that begins.
    pub fn new(name: &str, begun_ms: u64) -> Self {
        let name = name.to_owned();
        Self { name, begun_ms, ended_ms: begun_ms, alerts: BTreeMap::new(), messages: Vec::new() }
    }

    /// Takes in what is to be seen now. Says what is new of it.
    pub fn see(&mut self, sight: Sight) -> Vec<Event> {
        let Sight { at_ms, firing, inhibited, messages } = sight;
        let mut events = Vec::new();
        self.ended_ms = at_ms;
        for (alert, seen) in &mut self.alerts {
            if seen.fires && !firing.contains(alert) {
                seen.fires = false;
                events.push(Event::Ends(alert.clone()));
            }
        }
        for alert in firing {
            let new = Seen { first_ms: at_ms, last_ms: at_ms, fires: false, inhibited_by: BTreeSet::new() };
            let seen = self.alerts.entry(alert.clone()).or_insert(new);
            seen.last_ms = at_ms;
            if !std::mem::replace(&mut seen.fires, true) {
                events.push(Event::Fires(alert.clone()));
            }
            for by in inhibited.get(&alert).into_iter().flatten() {
                if seen.inhibited_by.insert(by.clone()) {
                    events.push(Event::Inhibited(alert.clone(), by.clone()));
                }
            }
        }
        let messages = messages.into_iter().filter(|message| message.at_ms >= self.begun_ms);
        let known = self.messages.len();
        self.messages = messages.collect();
        events.extend(self.messages.iter().skip(known).cloned().map(Event::Told));
        events
    }

    /// What was heard of an alert, of those who were to hear of it. If a worse one of the same name inhibited it, messages are of that one.
    pub fn told(&self, alert: &Alert) -> Vec<Told> {
        if self.alerts.get(alert).is_some_and(|seen| seen.inhibited_by.contains(&alert.name)) {
            return Vec::new();
        }
        let heard = |(service, channel): (Service, &'static str)| {
            let is_here = |message: &&Message| {
                message.service == service && (channel.is_empty() || message.to == channel) && alert.is_meant(message)
            };
            let messages: Vec<&Message> = self.messages.iter().filter(is_here).collect();
            let fires_ms = messages.iter().find(|message| !message.resolved)?.at_ms;
            let over_ms = messages.last().filter(|last| last.resolved).map(|last| last.at_ms);
            Some(Told { service, channel, fires_ms, over_ms })
        };
        alert.destinations().into_iter().filter_map(heard).collect()
    }

    /// Whether everybody who was to hear of an alert did.
    pub fn is_told(&self, alert: &Alert) -> bool {
        self.told(alert).len() == alert.destinations().len()
    }

    /// Whether an alert of this name fired, and whoever was to hear of it did, unless another one inhibited it.
    pub fn has_come_of(&self, name: &str) -> bool {
        let mut of_name = self.alerts.iter().filter(|(alert, _)| alert.name == name);
        of_name.any(|(alert, seen)| self.is_told(alert) || !seen.inhibited_by.is_empty())
    }

    /// Whether an alert is over, and everybody knows it who was told of it.
    pub fn is_over(&self, alert: &Alert) -> bool {
        let fires = self.alerts.get(alert).is_some_and(|seen| seen.fires);
        !fires && self.told(alert).iter().all(|told| told.over_ms.is_some())
    }

    /// What is not over.
    pub fn unrest(&self) -> Vec<&str> {
        self.alerts.keys().filter(|alert| !self.is_over(alert)).map(|alert| alert.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alert(name: &str, severity: &str) -> Alert {
        let labels =
            json!({"alertname": name, "severity": severity, "team": TEAM, "namespace": "shop", "campaign": "a"});
        Alert::of(&labels)
    }

    fn message(at_ms: u64, service: Service, to: &str, alert: &str, resolved: bool) -> Message {
        let (to, alert, text) = (to.to_owned(), alert.to_owned(), "shop/a has a trouble".to_owned());
        Message { at_ms, service, to, alert, resolved, text }
    }

    fn sight(at_ms: u64, firing: &[&Alert], inhibited: &[(&Alert, &str)], messages: &[Message]) -> Sight {
        Sight {
            at_ms,
            firing: firing.iter().map(|alert| (*alert).clone()).collect(),
            inhibited: inhibited.iter().map(|(alert, by)| ((*alert).clone(), [(*by).to_owned()].into())).collect(),
            messages: messages.to_vec(),
        }
    }

    #[test]
    fn an_alert_has_come_when_all_who_should_hear_did_and_is_over_when_they_know() {
        let down = alert("SaleUnreachable", "critical");
        let page = |at, over| message(at, Service::PagerDuty, "key", "SaleUnreachable", over);
        let chat = |at, over| message(at, Service::Slack, "#checkout", "SaleUnreachable", over);
        let mut chapter = Chapter::new("x", 100);
        // Of an earlier chapter, and of another channel.
        let old = [page(50, false), page(60, true), message(120, Service::Slack, "#coupons", "SaleUnreachable", false)];
        chapter.see(sight(110, &[&down], &[], &old[..2]));
        assert!(!chapter.has_come_of("SaleUnreachable") && chapter.unrest() == ["SaleUnreachable"]);
        chapter.see(sight(120, &[&down], &[], &[&old[..], &[page(115, false)]].concat()));
        assert!(!chapter.has_come_of("SaleUnreachable"), "the team's chat has not heard of it");
        let told = [&old[..], &[page(115, false), chat(116, false)]].concat();
        chapter.see(sight(130, &[&down], &[], &told));
        assert!(chapter.has_come_of("SaleUnreachable"));
        chapter.see(sight(140, &[], &[], &told));
        assert_eq!(chapter.unrest(), ["SaleUnreachable"], "it has ended, and nobody was told so");
        chapter.see(sight(150, &[], &[], &[&told[..], &[page(145, true), chat(146, true)]].concat()));
        assert!(chapter.unrest().is_empty());
        let seen = &chapter.alerts[&down];
        assert_eq!((seen.first_ms, seen.last_ms, chapter.ended_ms), (110, 130, 150));
        assert_eq!(chapter.told(&down)[0].over_ms, Some(145));
    }

    #[test]
    fn what_is_new_is_said_once() {
        let (down, away) = (alert("SaleUnreachable", "critical"), alert("SaleTurnsUsersAway", "critical"));
        let page = message(2, Service::PagerDuty, "key", "SaleUnreachable", false);
        let mut chapter = Chapter::new("x", 0);
        let mut said = |sight| chapter.see(sight).iter().map(Event::to_string).collect::<Vec<_>>();
        let both = [&away, &down];
        let inhibited = [(&away, "SaleUnreachable")];
        assert_eq!(said(sight(1, &[&down], &[], &[])), ["fires: SaleUnreachable (critical, shop/a)"]);
        assert_eq!(
            said(sight(2, &both, &inhibited, std::slice::from_ref(&page))),
            [
                "fires: SaleTurnsUsersAway (critical, shop/a)",
                "inhibited by SaleUnreachable: SaleTurnsUsersAway (critical, shop/a)",
                "PagerDuty is told: SaleUnreachable fires",
            ]
        );
        assert!(said(sight(3, &both, &inhibited, std::slice::from_ref(&page))).is_empty());
        assert_eq!(said(sight(4, &[&down], &[], &[page])), ["ends: SaleTurnsUsersAway (critical, shop/a)"]);
    }

    #[test]
    fn what_another_alert_inhibits_need_not_be_told() {
        let (down, away) = (alert("SaleUnreachable", "critical"), alert("SaleTurnsUsersAway", "critical"));
        let mut chapter = Chapter::new("x", 0);
        chapter.see(sight(1, &[&away], &[], &[]));
        assert!(!chapter.has_come_of("SaleTurnsUsersAway"));
        chapter.see(sight(2, &[&away, &down], &[(&away, "SaleUnreachable")], &[]));
        assert!(chapter.has_come_of("SaleTurnsUsersAway") && !chapter.is_told(&away));
        chapter.see(sight(3, &[], &[], &[]));
        assert!(chapter.unrest().is_empty(), "{:?}", chapter.unrest());
    }

    #[test]
    fn a_warning_wakes_nobody() {
        assert_eq!(alert("IssuerDown", "warning").destinations(), [(Service::Slack, "#checkout")]);
        let of_nobody = Alert::of(&json!({"alertname": "OperatorDown", "severity": "critical"}));
        assert_eq!(of_nobody.destinations(), [(Service::PagerDuty, ""), (Service::Slack, "#coupons")]);
        assert_eq!(of_nobody.campaign, "");
    }
}
