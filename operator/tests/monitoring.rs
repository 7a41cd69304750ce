//! Alerts, their runbooks and routes: the programs that read them take them, and they speak of what there is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use coupon_testing::metrics_reference;
use regex::Regex;
use serde_json::Value;

const RULES: &str = "monitoring/rules/coupon.rules.yaml";
const ROUTES: &str = "monitoring/alertmanager/alertmanager.example.yaml";
const SEVERITIES: [&str; 2] = ["critical", "warning"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: impl AsRef<Path>) -> String {
    let path = repository().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(file: impl AsRef<Path>) -> Value {
    coupon_core::yaml::from_str(&read(file)).unwrap()
}

/// The files of a folder with this ending, by their names without it.
fn files(folder: &str, ending: &str) -> BTreeMap<String, PathBuf> {
    let all = std::fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| Some((path.file_name()?.to_str()?.strip_suffix(ending)?.to_owned(), path.clone()));
    all.filter_map(named).collect()
}

/// Runs a program of Prometheus and fails with its words.
fn run(program: &str, arguments: &[&str]) {
    let command = Command::new(program).args(arguments).current_dir(repository()).output();
    let output = command.unwrap_or_else(|error| panic!("{program}: {error}; run `stack install --test-packages`"));
    let words = [output.stdout, output.stderr].map(|words| String::from_utf8_lossy(&words).into_owned());
    assert!(output.status.success(), "{program} {}:\n{}", arguments.join(" "), words.concat());
}

fn rules() -> Vec<Value> {
    let groups = yaml(RULES)["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn alerts() -> Vec<Value> {
    rules().into_iter().filter(|rule| rule["alert"].is_string()).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn alert_names() -> BTreeSet<String> {
    alerts().iter().map(|alert| text(alert, "alert").to_owned()).collect()
}

/// Wrong: a rule that cannot be read, that does not fire when it must, or that rings in every normal sale.
#[test]
fn prometheus_takes_the_rules_and_they_fire_when_they_should_and_only_then() {
    run("promtool", &["check", "rules", RULES]);
    let tests = files("monitoring/rules/tests", ".test.yaml");
    assert!(tests.len() >= 4, "{tests:?}");
    for path in tests.values() {
        run("promtool", &["test", "rules", path.to_str().unwrap()]);
    }
}

/// Wrong: the chart brings other rules, routes and dashboards than those that were tested.
#[test]
fn the_chart_has_the_same_rules_routes_and_dashboards() {
    assert_eq!(read("charts/coupon-operator/files/coupon.rules.yaml"), read(RULES), "run `make generate`");
    assert_eq!(read("charts/coupon-operator/files/alertmanager.example.yaml"), read(ROUTES), "run `make generate`");
    let [ours, of_chart] = ["monitoring/dashboards", "charts/coupon-operator/files/dashboards"].map(|folder| {
        let all = files(folder, ".json").into_iter();
        all.map(|(name, path)| (name, read(path))).collect::<BTreeMap<_, _>>()
    });
    assert!(ours == of_chart, "run `make generate`");
}

/// Wrong: `namespace` of every series of the operator is `coupon-system`, and the campaign's is called `exported_namespace`.
#[test]
fn the_charts_monitors_leave_labels_as_they_are() {
    for monitor in ["servicemonitor", "podmonitor"] {
        let template = read(format!("charts/coupon-operator/templates/{monitor}.yaml"));
        assert!(template.lines().any(|line| line.trim() == "honorLabels: true"), "{monitor}");
    }
}

/// Wrong: people copy an example that Prometheus refuses. Debian's is built without Kubernetes, so all is checked but how pods are found.
#[test]
fn prometheus_takes_the_example_of_what_to_scrape() {
    let mut example = yaml("monitoring/prometheus.example.yaml");
    for job in example["scrape_configs"].as_array_mut().unwrap() {
        assert_eq!(job["honor_labels"], true, "else `namespace` would be the operator's own");
        assert!(job.as_object_mut().unwrap().remove("kubernetes_sd_configs").is_some());
    }
    let rules = repository().join("monitoring").join(example["rule_files"][0].as_str().unwrap());
    assert!(rules.ends_with("coupon.rules.yaml"), "{rules:?}");
    example["rule_files"] = serde_json::json!([rules]);
    let folder = stack::child::folder("coupon-monitoring").unwrap();
    let file = folder.join("prometheus.yaml");
    std::fs::write(&file, example.to_string()).unwrap();
    run("promtool", &["check", "config", file.to_str().unwrap()]);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Wrong: an alert that nobody has seen fire, or end.
#[test]
fn every_alert_is_seen_to_fire_and_to_resolve() {
    let mut seen = BTreeSet::new();
    for path in files("monitoring/rules/tests", ".test.yaml").values() {
        for test in yaml(path)["tests"].as_array().unwrap() {
            let moments = test["alert_rule_test"].as_array().cloned().unwrap_or_default();
            for (number, moment) in moments.iter().enumerate() {
                let alert = text(moment, "alertname");
                let is_over = |later: &Value| {
                    text(later, "alertname") == alert && later["exp_alerts"].as_array().is_some_and(Vec::is_empty)
                };
                let resolves = moments[number..].iter().any(is_over);
                let fires = moment["exp_alerts"].as_array().unwrap().iter().filter(|_| resolves);
                seen.extend(fires.map(|each| (alert.to_owned(), text(&each["exp_labels"], "severity").to_owned())));
            }
        }
    }
    let all: BTreeSet<_> = alerts()
        .iter()
        .map(|alert| (text(alert, "alert").to_owned(), text(&alert["labels"], "severity").to_owned()))
        .collect();
    assert_eq!(seen, all);
}

/// Wrong: whoever is woken finds no page, or a page that says nothing; or a page speaks of an alert that there is not.
#[test]
fn every_alert_has_words_and_a_runbook_and_every_runbook_an_alert() {
    for alert in alerts() {
        let name = text(&alert, "alert");
        let annotations = &alert["annotations"];
        assert!(SEVERITIES.contains(&text(&alert["labels"], "severity")), "{name}");
        assert!(!text(annotations, "summary").is_empty() && !text(annotations, "description").is_empty(), "{name}");
        assert_eq!(text(annotations, "runbook_url"), format!("docs/runbooks/{name}.md"));
    }
    let mut pages = files("docs/runbooks", ".md");
    let index = std::fs::read_to_string(pages.remove("README").unwrap()).unwrap();
    assert_eq!(pages.keys().cloned().collect::<BTreeSet<_>>(), alert_names());
    for (name, path) in pages {
        let page = std::fs::read_to_string(path).unwrap();
        assert!(index.contains(&format!("[{name}]({name}.md)")), "{name} is not in the list");
        let headings: Vec<_> = page.lines().filter(|line| line.starts_with('#')).collect();
        let wanted = ["## What it means", "## What users see", "## What to look at", "## What to do"];
        assert_eq!(headings[0], format!("# {name}"));
        assert_eq!(headings[1..], wanted, "{name}");
    }
}

/// Wrong: an alert that is silent for ever, as its series was renamed; a runbook that names an annotation that does nothing.
#[test]
fn rules_and_runbooks_speak_of_what_there_is() {
    let recorded: BTreeSet<_> = rules().iter().map(|rule| text(rule, "record").to_owned()).collect();
    let known = metrics_reference::names();
    let series = Regex::new(r"[a-z_:]*coupon_[a-z0-9_:]+").unwrap();
    for rule in rules() {
        let expression = text(&rule, "expr");
        for found in series.find_iter(expression).map(|found| found.as_str()) {
            assert!(known.contains(found) || recorded.contains(found), "{found} in {expression}");
        }
    }
    let annotation = Regex::new(r"coupon-operator\.io/[a-z-]+").unwrap();
    let ours: String = sources(&repository().join("operator/src")).iter().map(read).collect();
    let histograms: BTreeSet<_> = known.iter().filter_map(|name| name.strip_suffix("_bucket")).collect();
    for path in files("docs/runbooks", ".md").values() {
        let page = read(path);
        for found in annotation.find_iter(&page) {
            assert!(ours.contains(&format!("\"{}\"", found.as_str())), "{} in {}", found.as_str(), path.display());
        }
        for found in series.find_iter(&page).map(|found| found.as_str()) {
            assert!(known.contains(found) || histograms.contains(found), "{found} in {}", path.display());
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// Wrong: an example that Alertmanager refuses, or that inhibits by names that no alert has.
#[test]
fn alertmanager_takes_the_routes_and_they_name_alerts_that_there_are() {
    run("amtool", &["check-config", ROUTES]);
    for (labels, receivers) in [
        (&["severity=critical", "team=checkout"][..], "page,checkout-chat"),
        (&["severity=critical"], "page,chat"),
        (&["severity=warning", "team=checkout"], "checkout-chat"),
        (&["severity=warning"], "chat"),
    ] {
        let file = format!("--config.file={ROUTES}");
        let wanted = format!("--verify.receivers={receivers}");
        run("amtool", &[&["config", "routes", "test", &file, &wanted], labels].concat());
    }
    let matcher = Regex::new(r#"alertname=~?"([A-Za-z|]+)""#).unwrap();
    let (text, names) = (read(ROUTES), alert_names());
    let named: BTreeSet<&str> =
        matcher.captures_iter(&text).flat_map(|found| found.get(1).unwrap().as_str().split('|')).collect();
    assert!(named.len() > 10 && named.iter().all(|name| names.contains(*name)), "{named:?}");
}
