//! The dashboards: what Grafana's own linter asks for, and that they speak of series that there are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use coupon_testing::metrics_reference;
use regex::Regex;
use serde_json::{Value, json};

const SOURCE: &str = "${datasource}";
/// Columns of a dashboard.
const WIDTH: u64 = 24;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../monitoring")
}

/// Each dashboard, by the name of its file.
fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(folder().join("dashboards")).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let all: Vec<_> = files
        .map(|path| (name(&path), serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()))
        .collect();
    assert_eq!(all.len(), 3, "{:?}", all.iter().map(|(name, _)| name).collect::<Vec<_>>());
    all
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The panels that show something, each with the words to tell it by.
fn panels(name: &str, dashboard: &Value) -> Vec<(String, Value)> {
    let shown = list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row");
    shown.map(|panel| (format!("{name}: {}", text(panel, "title")), panel.clone())).collect()
}

fn expressions() -> Vec<(String, String)> {
    let all = dashboards();
    let panels = all.iter().flat_map(|(name, dashboard)| panels(name, dashboard));
    let of = |(which, panel): (String, Value)| {
        let targets: Vec<Value> = list(&panel, "targets").to_vec();
        targets.into_iter().map(move |target| (which.clone(), text(&target, "expr").to_owned()))
    };
    panels.flat_map(of).collect()
}

/// Wrong: a dashboard that works only in the Grafana in which it was drawn, or that is changed there and not here.
#[test]
fn a_dashboard_can_be_taken_to_any_grafana() {
    for (name, dashboard) in dashboards() {
        assert_eq!(text(&dashboard, "uid"), name, "links keep working");
        assert!(dashboard.get("id").is_none() && dashboard["editable"] == false, "{name}");
        assert!(text(&dashboard, "title").starts_with("Coupons / ") && !text(&dashboard, "description").is_empty());
        assert_eq!(dashboard["tags"], json!(["coupon-operator"]), "{name}");
        let variables = list(&dashboard["templating"], "list");
        let source = &variables[0];
        assert_eq!(
            (text(source, "name"), text(source, "type"), text(source, "query")),
            ("datasource", "datasource", "prometheus")
        );
        for variable in &variables[1..] {
            assert_eq!(
                (&variable["refresh"], text(&variable["datasource"], "uid")),
                (&json!(2), SOURCE),
                "{name}: {variable}"
            );
            assert!(!text(variable, "label").is_empty(), "{name}: {variable}");
        }
    }
}

/// Wrong: a panel of which nobody knows what it shows, or in which unit.
#[test]
fn every_panel_says_what_it_shows() {
    for (name, dashboard) in dashboards() {
        let titles: BTreeSet<_> = panels(&name, &dashboard).into_iter().map(|(which, _)| which).collect();
        assert_eq!(titles.len(), panels(&name, &dashboard).len(), "{name}: each title once");
        for (which, panel) in panels(&name, &dashboard) {
            assert!(!text(&panel, "title").is_empty() && text(&panel, "description").ends_with('.'), "{which}");
            assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{which}: a unit");
            assert_eq!(text(&panel["datasource"], "uid"), SOURCE, "{which}");
            let targets = list(&panel, "targets");
            let ids: BTreeSet<_> = targets.iter().map(|target| text(target, "refId")).collect();
            assert!(!targets.is_empty() && ids.len() == targets.len(), "{which}: {ids:?}");
            assert!(targets.iter().all(|target| text(&target["datasource"], "uid") == SOURCE), "{which}");
        }
    }
}

/// Wrong: panels that cover each other, or that Grafana moves.
#[test]
fn panels_lie_side_by_side() {
    for (name, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in list(&dashboard, "panels") {
            let at = |side| panel["gridPos"][side].as_u64().unwrap();
            assert!(at("x") + at("w") <= WIDTH, "{name}: {}", panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {}", panel["title"]);
            for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: {} covers another", panel["title"]);
            }
        }
    }
}

/// Wrong: a panel that stays empty, as its series was renamed, or that shows a counter since the process began.
#[test]
fn queries_speak_of_series_that_there_are() {
    let rules = std::fs::read_to_string(folder().join("rules/coupon.rules.yaml")).unwrap();
    let known = metrics_reference::names();
    let series = Regex::new(r"[a-z_:]*coupon_[a-z0-9_:]+").unwrap();
    let counter = Regex::new(r"(\w+)\((coupon_[a-z_]+_(?:total|bucket))\b(?:\{[^}]*\})?(\[[^\]]*\])?").unwrap();
    let is_read = Regex::new(r"coupon_[a-z_]+_(?:total|bucket)\b").unwrap();
    for (which, query) in expressions() {
        for found in series.find_iter(&query).map(|found| found.as_str()) {
            assert!(known.contains(found) || rules.contains(&format!("record: {found}\n")), "{which}: {found}");
        }
        let counters: Vec<_> = counter.captures_iter(&query).collect();
        assert_eq!(
            counters.len(),
            is_read.find_iter(&query).count(),
            "{which}: a counter outside of rate or increase: {query}"
        );
        for found in counters {
            assert!(["rate", "increase"].contains(&&found[1]), "{which}: {query}");
            assert_eq!(found.get(3).map(|range| range.as_str()), Some("[$__rate_interval]"), "{which}: {query}");
        }
    }
}

/// Wrong: a query that Prometheus does not understand.
#[test]
fn prometheus_understands_every_query() {
    let fill = |query: String| {
        let query = query.replace("$__rate_interval", "1m").replace("$namespace", "shop");
        query.replace("$campaign", "spring").replace("$class", ".*")
    };
    let queries = expressions().into_iter().map(|(_, query)| fill(query)).enumerate();
    let rules: Vec<Value> =
        queries.map(|(number, query)| json!({"record": format!("query:{number}"), "expr": query})).collect();
    assert!(rules.len() > 60, "{}", rules.len());
    let folder = stack::child::folder("coupon-dashboards").unwrap();
    let file = folder.join("queries.yaml");
    std::fs::write(&file, json!({"groups": [{"name": "queries", "rules": rules}]}).to_string()).unwrap();
    let output = Command::new("promtool").arg("check").arg("rules").arg(&file).output();
    let output = output.unwrap_or_else(|error| panic!("promtool: {error}; run `stack install --test-packages`"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir_all(folder).unwrap();
}
