//! What Slack and PagerDuty take, as far as Alertmanager says it, and what they refuse. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whom a message was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// A chat.
    Slack,
    /// A person who is woken.
    PagerDuty,
}

/// What was sent to somebody about an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
    /// Through which of the two.
    pub service: Service,
    /// Slack's channel, or PagerDuty's routing key.
    pub to: String,
    /// The alert's name.
    pub alert: String,
    /// Whether it says that the trouble is over.
    pub resolved: bool,
    /// What people read.
    pub text: String,
}

#[derive(Deserialize)]
struct SlackMessage {
    #[serde(default)]
    channel: String,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(default)]
    title: String,
    #[serde(default)]
    text: String,
}

/// Reads what was posted to an incoming webhook of Slack.
///
/// # Errors
/// The word with which Slack refuses it.
pub(crate) fn slack(body: &[u8], at_ms: u64) -> Result<Message, &'static str> {
    let sent: SlackMessage = serde_json::from_slice(body).map_err(|_| "invalid_payload")?;
    let shown = sent.attachments.first().filter(|shown| !shown.title.is_empty()).ok_or("no_text")?;
    // `[FIRING] Name`, as the routes have it.
    let (state, alert) = shown.title.split_once(' ').ok_or("no_text")?;
    Ok(Message {
        at_ms,
        service: Service::Slack,
        to: sent.channel,
        alert: alert.to_owned(),
        resolved: state.starts_with("[RESOLVED"),
        text: shown.text.clone(),
    })
}

#[derive(Deserialize)]
struct PagerDutyEvent {
    routing_key: String,
    #[serde(default)]
    dedup_key: String,
    event_action: String,
    #[serde(default)]
    payload: Payload,
}

#[derive(Default, Deserialize)]
struct Payload {
    #[serde(default)]
    summary: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    custom_details: Value,
}

/// Longest summary, in characters.
const SUMMARY: usize = 1024;
/// Length of a routing key.
const KEY: usize = 32;
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// Reads an event of PagerDuty's Events API, version 2. Answers the message and the key by which it knows the trouble.
///
/// # Errors
/// What PagerDuty finds wrong with it.
pub(crate) fn pagerduty(body: &[u8], at_ms: u64) -> Result<(Message, String), String> {
    let event: PagerDutyEvent = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let PagerDutyEvent { routing_key, dedup_key, event_action, payload } = event;
    let resolved = match event_action.as_str() {
        "trigger" => false,
        "resolve" => true,
        other => return Err(format!("'event_action' {other} is none")),
    };
    if routing_key.len() != KEY {
        return Err(format!("'routing_key' has not {KEY} characters"));
    }
    if resolved && dedup_key.is_empty() {
        return Err("'dedup_key' is missing or blank".to_owned());
    }
    if !resolved {
        trigger(&payload)?;
    }
    let alert = alert_name(&payload.custom_details).unwrap_or_default();
    let text = payload.summary;
    Ok((Message { at_ms, service: Service::PagerDuty, to: routing_key, alert, resolved, text }, dedup_key))
}

/// What an event must have that wakes somebody.
fn trigger(payload: &Payload) -> Result<(), String> {
    let Payload { summary, source, severity, .. } = payload;
    if summary.is_empty() || summary.chars().count() > SUMMARY {
        return Err(format!("'payload.summary' is missing, or longer than {SUMMARY} characters"));
    }
    if source.is_empty() {
        return Err("'payload.source' is missing or blank".to_owned());
    }
    if !SEVERITIES.contains(&severity.as_str()) {
        return Err(format!("'payload.severity' is none of {}", SEVERITIES.join(", ")));
    }
    Ok(())
}

/// Alertmanager lists the labels of the alerts, a line for each.
fn alert_name(details: &Value) -> Option<String> {
    let texts = ["firing", "resolved"].into_iter().filter_map(|field| details.get(field)?.as_str());
    let mut lines = texts.flat_map(str::lines);
    lines.find_map(|line| line.trim().strip_prefix("- alertname = ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn slack_hears_what_fires_and_what_is_over() {
        let body = |title: &str| json!({"channel": "#coupons", "attachments": [{"title": title, "text": "shop/a"}]});
        for (title, resolved) in [("[FIRING] OperatorDown", false), ("[RESOLVED] OperatorDown", true)] {
            let message = slack(body(title).to_string().as_bytes(), 7).unwrap();
            let expected = Message {
                at_ms: 7,
                service: Service::Slack,
                to: "#coupons".to_owned(),
                alert: "OperatorDown".to_owned(),
                resolved,
                text: "shop/a".to_owned(),
            };
            assert_eq!(message, expected);
        }
        assert_eq!(slack(b"{", 0), Err("invalid_payload"));
        assert_eq!(slack(br##"{"channel":"#coupons"}"##, 0), Err("no_text"));
    }

    fn event(action: &str, change: impl Fn(&mut Value)) -> Result<(Message, String), String> {
        let mut event = json!({
            "routing_key": "0123456789abcdef0123456789abcdef", "dedup_key": "k", "event_action": action,
            "payload": {
                "summary": "shop/a is open and nobody answers its users", "source": "Alertmanager", "severity": "critical",
                "custom_details": {"firing": "Labels:\n - alertname = SaleUnreachable\n - campaign = a\n", "resolved": ""},
            },
        });
        change(&mut event);
        pagerduty(event.to_string().as_bytes(), 7)
    }

    #[test]
    fn pagerduty_tells_alerts_by_their_labels_and_troubles_by_their_key() {
        for (action, resolved) in [("trigger", false), ("resolve", true)] {
            let (message, key) = event(action, |_| ()).unwrap();
            assert_eq!((message.alert.as_str(), message.resolved, key.as_str()), ("SaleUnreachable", resolved, "k"));
            assert!(message.text.starts_with("shop/a"));
        }
    }

    type Change = fn(&mut Value);

    /// Wrong: the real PagerDuty refuses what was taken here.
    #[test]
    fn pagerduty_refuses_what_wakes_nobody() {
        let refused: [(&str, Change); 5] = [
            ("event_action", |event| event["event_action"] = json!("firing")),
            ("routing_key", |event| event["routing_key"] = json!("short")),
            ("payload.summary", |event| event["payload"]["summary"] = json!("")),
            ("payload.source", |event| event["payload"]["source"] = json!("")),
            ("payload.severity", |event| event["payload"]["severity"] = json!("page")),
        ];
        for (field, change) in refused {
            let error = event("trigger", change).unwrap_err();
            assert!(error.contains(field), "{field}: {error}");
        }
        assert!(event("resolve", |event| event["dedup_key"] = json!("")).unwrap_err().contains("dedup_key"));
        assert!(pagerduty(b"{}", 0).is_err());
    }
}
