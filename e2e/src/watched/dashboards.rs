//! The queries of dashboards, as Grafana would send them. Pure.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What is asked of Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// An expression.
    Expression(String),
    /// Which values a label has, of these series.
    LabelValues {
        /// A selector.
        series: String,
        /// The label.
        label: String,
    },
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// There is something to be shown.
    Data,
    /// There is nothing.
    Empty,
    /// It was refused.
    Refused(String),
}

/// A question, and who asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The dashboard's uid.
    pub dashboard: String,
    /// The panel's title, or the variable's name with a `$`.
    pub panel: String,
    /// Which query of the panel.
    pub reference: String,
    /// What it asks.
    pub ask: Ask,
}

/// What a dashboard asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dashboard {
    /// How many panels show something.
    pub panels: usize,
    /// The queries of panels and variables.
    pub queries: Vec<Query>,
}

/// Reads a dashboard, with `variables` in place of those that people choose.
///
/// # Errors
/// If a query has a variable that is not among them, or is of an unknown kind.
pub fn read(dashboard: &Value, variables: &[(&str, &str)]) -> Result<Dashboard> {
    let name = text(dashboard, "uid");
    let mut panels = Vec::new();
    collect(dashboard, &mut panels);
    let mut queries = Vec::new();
    for panel in &panels {
        for target in list(panel, "targets") {
            queries.push(Query {
                dashboard: name.to_owned(),
                panel: text(panel, "title").to_owned(),
                reference: text(target, "refId").to_owned(),
                ask: Ask::Expression(fill(text(target, "expr"), variables)?),
            });
        }
    }
    for variable in list(&dashboard["templating"], "list").iter().filter(|each| text(each, "type") == "query") {
        let asked = fill(text(&variable["query"], "query"), variables)?;
        let inner = asked.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let parts = inner.and_then(|inner| inner.rsplit_once(','));
        let (series, label) = parts.with_context(|| format!("{name}: {asked} is no `label_values(series, label)`"))?;
        queries.push(Query {
            dashboard: name.to_owned(),
            panel: format!("${}", text(variable, "name")),
            reference: "variable".to_owned(),
            ask: Ask::LabelValues { series: series.trim().to_owned(), label: label.trim().to_owned() },
        });
    }
    ensure!(!queries.is_empty(), "{name} asks nothing");
    Ok(Dashboard { panels: panels.len(), queries })
}

/// Panels lie in the dashboard, or in a row that is folded.
fn collect<'a>(of: &'a Value, panels: &mut Vec<&'a Value>) {
    for panel in list(of, "panels") {
        if text(panel, "type") == "row" { collect(panel, panels) } else { panels.push(panel) }
    }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Puts values in the place of `$name` and `${name}`. A `$` before anything else, as in a pattern, stays.
fn fill(query: &str, variables: &[(&str, &str)]) -> Result<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut filled = String::new();
    let mut rest = query;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let (braced, after) = after.strip_prefix('{').map_or((false, after), |after| (true, after));
        let (name, behind) = after.split_at(after.find(|c: char| !is_name(c)).unwrap_or(after.len()));
        rest = if braced { behind.strip_prefix('}').context("a `${` without an end")? } else { behind };
        match variables.iter().find(|(variable, _)| *variable == name) {
            Some((_, value)) => filled.push_str(value),
            None if name.is_empty() && !braced => filled.push('$'),
            None => bail!("nothing is known to put in the place of ${name} in {query}"),
        }
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_replaced_by_their_whole_names() {
        let variables = [("campaign", "spring"), ("campaigns", "many"), ("__rate_interval", "12s")];
        for (query, filled) in [
            ("rate(a{campaign=\"$campaign\"}[$__rate_interval])", "rate(a{campaign=\"spring\"}[12s])"),
            ("$campaigns ${campaign}s", "many springs"),
            ("a{b=~\"c$\"}", "a{b=~\"c$\"}"),
            ("up", "up"),
        ] {
            assert_eq!(fill(query, &variables).unwrap(), filled);
        }
        assert!(fill("$other", &variables).is_err());
        assert!(fill("${campaign", &variables).is_err());
    }

    #[test]
    fn panels_in_folded_rows_count_and_rows_do_not() {
        let target = |of: &str| json!({"refId": "A", "expr": format!("{of}{{namespace=\"$namespace\"}}")});
        let dashboard = json!({
            "uid": "one",
            "panels": [
                {"type": "row", "title": "open"},
                {"type": "stat", "title": "first", "targets": [target("a"), target("b")]},
                {"type": "row", "title": "folded", "panels": [{"type": "stat", "title": "second", "targets": [target("c")]}]},
            ],
            "templating": {"list": [
                {"type": "datasource", "name": "datasource", "query": "prometheus"},
                {"type": "query", "name": "campaign", "query": {"query": "label_values(i{namespace=\"$namespace\", x=\"y\"}, campaign)"}},
            ]},
        });
        let read = read(&dashboard, &[("namespace", "shop")]).unwrap();
        assert_eq!((read.panels, read.queries.len()), (2, 4));
        assert_eq!(read.queries[2].ask, Ask::Expression("c{namespace=\"shop\"}".to_owned()));
        let series = "i{namespace=\"shop\", x=\"y\"}".to_owned();
        assert_eq!(read.queries[3].ask, Ask::LabelValues { series, label: "campaign".to_owned() });
    }
}
