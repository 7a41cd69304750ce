//! Alerts in a faster time, so that a sale of minutes shows them all: every time that rules, routes and scraping wait is shorter by one
//! factor. Pure.

use anyhow::{Context, Result, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Numbers of expressions that are seconds of a window which is shorter too: the alert, and how the number stands there.
const SECONDS: [(&str, &str, u32); 2] = [("SaleTurnsUsersAway", "> ", 20), ("ReconcileErrors", "> ", 180)];

/// How many times as fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace(u32);

impl Pace {
    /// `factor` times as fast as on a cluster.
    pub const fn new(factor: u32) -> Self {
        Self(factor)
    }

    /// Rules, as the file has them.
    ///
    /// # Errors
    /// If they are not as expected.
    pub fn rules(self, mut file: Value) -> Result<Value> {
        for group in file["groups"].as_array_mut().context("there are no groups")? {
            self.field(group, "interval")?;
            for rule in group["rules"].as_array_mut().context("a group without rules")? {
                self.field(rule, "for")?;
                self.field(rule, "keep_firing_for")?;
                let expression = self.expression(rule["expr"].as_str().context("a rule without an expression")?);
                let expression = self.seconds(rule["alert"].as_str().unwrap_or_default(), expression)?;
                rule["expr"] = json!(expression);
            }
        }
        Ok(file)
    }

    /// What Prometheus is told of scraping and evaluating.
    ///
    /// # Errors
    /// If it is not as expected.
    pub fn prometheus(self, mut config: Value) -> Result<Value> {
        let global = &mut config["global"];
        ["scrape_interval", "evaluation_interval"].iter().try_for_each(|field| self.field(global, field))?;
        Ok(config)
    }

    /// How long Alertmanager gathers alerts before it speaks.
    ///
    /// # Errors
    /// If it is not as expected.
    pub fn alertmanager(self, mut config: Value) -> Result<Value> {
        let route = &mut config["route"];
        ["group_wait", "group_interval"].iter().try_for_each(|field| self.field(route, field))?;
        Ok(config)
    }

    /// Shortens a time, if there is one in this field.
    fn field(self, of: &mut Value, name: &str) -> Result<()> {
        let Some(time) = of.get(name) else { return Ok(()) };
        let shorter = time.as_str().and_then(|time| self.duration(time));
        let shorter = shorter.with_context(|| format!("{name}: {time} is no time"))?;
        of[name] = json!(shorter);
        Ok(())
    }

    /// A time in Prometheus' words; nothing if this is none.
    pub fn duration(self, text: &str) -> Option<String> {
        let begins = text.starts_with(|c: char| c.is_ascii_digit());
        let ends = text.ends_with(|c: char| c.is_ascii_lowercase());
        let time = text.parse::<SignedDuration>().ok().filter(|_| begins && ends)?;
        let ms = time.as_millis() / i128::from(self.0);
        Some(if ms % 1000 == 0 { format!("{}s", ms / 1000) } else { format!("{ms}ms") })
    }

    /// Shortens the times of an expression: ranges and offsets. What stands in quotes stays, and so do names.
    fn expression(self, expression: &str) -> String {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_:.".contains(c);
        let mut faster = String::new();
        for (number, part) in expression.split('"').enumerate() {
            if number > 0 {
                faster.push('"');
            }
            if number % 2 == 1 {
                faster.push_str(part);
                continue;
            }
            for piece in part.split_inclusive(|c: char| !is_word(c)) {
                let (word, end) = piece.split_at(piece.find(|c: char| !is_word(c)).unwrap_or(piece.len()));
                faster.push_str(self.duration(word).as_deref().unwrap_or(word));
                faster.push_str(end);
            }
        }
        faster
    }

    /// Shortens the seconds in an alert's expression that nothing marks as such.
    fn seconds(self, alert: &str, mut expression: String) -> Result<String> {
        for (_, before, seconds) in SECONDS.iter().filter(|(name, ..)| *name == alert) {
            let stands = format!("{before}{seconds}");
            ensure!(expression.matches(&stands).count() == 1, "{alert} has not one `{stands}`");
            expression = expression.replace(&stands, &format!("{before}{}", f64::from(*seconds) / f64::from(self.0)));
        }
        Ok(expression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Pace = Pace::new(5);

    #[test]
    fn times_are_shorter_and_other_words_stay() {
        for (text, faster) in [
            ("2m", Some("24s")),
            ("1m", Some("12s")),
            ("15s", Some("3s")),
            ("1s", Some("200ms")),
            ("1h30m", Some("1080s")),
            ("300", None),
            ("0.99", None),
            ("p99_2m", None),
            ("m", None),
            ("", None),
        ] {
            assert_eq!(FIVE.duration(text).as_deref(), faster, "{text}");
        }
    }

    #[test]
    fn of_an_expression_ranges_and_offsets_are_times() {
        for (expression, faster) in [
            ("rate(a_total[2m]) > 1", "rate(a_total[24s]) > 1"),
            ("a - a offset 1m\n> 20", "a - a offset 12s\n> 20"),
            ("max:p99_2m{code=\"5m\"} + 300 * deriv(b[3m])", "max:p99_2m{code=\"5m\"} + 300 * deriv(b[36s])"),
            ("up == 1", "up == 1"),
        ] {
            assert_eq!(FIVE.expression(expression), faster);
        }
    }

    fn monitoring(file: &str) -> Value {
        let path = format!("{}/../monitoring/{file}", env!("CARGO_MANIFEST_DIR"));
        coupon_core::yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Wrong: one of the real alerts waits as long as on a cluster, or an expression is another one.
    #[test]
    fn the_real_rules_are_the_same_but_for_their_times() {
        let real = monitoring("rules/coupon.rules.yaml");
        let fast = FIVE.rules(real.clone()).unwrap();
        assert_eq!(Pace::new(1).rules(real.clone()).unwrap()["groups"][0]["interval"], real["groups"][0]["interval"]);
        let rules = |of: &Value| of["groups"][0]["rules"].as_array().unwrap().clone();
        assert_eq!(fast["groups"][0]["interval"], "3s");
        let rule = |name: &str| rules(&fast).into_iter().find(|rule| rule["alert"] == name).unwrap();
        let unreachable = rule("SaleUnreachable");
        assert_eq!((&unreachable["for"], &unreachable["keep_firing_for"]), (&json!("6s"), &json!("30s")));
        let away = rule("SaleTurnsUsersAway")["expr"].as_str().unwrap().to_owned();
        assert!(away.contains("offset 12s") && away.contains("> 4\n"), "{away}");
        assert!(rule("ReconcileErrors")["expr"].as_str().unwrap().contains("> 36\n"));
        let waits = |all: Vec<Value>| all.iter().filter(|rule| rule["for"].is_string()).count();
        assert_eq!(waits(rules(&fast)), waits(rules(&real)));
        for rule in rules(&fast) {
            assert!(!rule["expr"].as_str().unwrap().contains("m]"), "{rule}");
        }
    }

    #[test]
    fn scraping_and_routes_keep_up() {
        let prometheus = FIVE.prometheus(monitoring("prometheus.example.yaml")).unwrap();
        assert_eq!(prometheus["global"], json!({"scrape_interval": "3s", "evaluation_interval": "3s"}));
        let alertmanager = FIVE.alertmanager(monitoring("alertmanager/alertmanager.example.yaml")).unwrap();
        let route = &alertmanager["route"];
        assert_eq!((&route["group_wait"], &route["group_interval"]), (&json!("2s"), &json!("12s")));
    }
}
