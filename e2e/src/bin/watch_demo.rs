//! `make watch-demo`: a sale and its troubles as whoever is on call sees them, in Prometheus, Slack and PagerDuty.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::campaign::{Sale, manifest};
use e2e::install::{WARM_UP_SECONDS, install, namespace};
use e2e::watched::crowd::Crowd;
use e2e::watched::dashboards::{Ask, Dashboard, Query, read};
use e2e::watched::faults::{FAULTS, Fault, tested};
use e2e::watched::pace::Pace;
use e2e::watched::report::{ALERT, RULES, alerts, line, queries};
use e2e::watched::scene::Scene;
use e2e::watched::servers::{Rule, Servers};
use e2e::watched::timeline::{Chapter, TEAM};
use e2e::watched::watch::Watch;
use operator::api::Phase;
use serde_json::{Value, json};
use stack::Connections;

const NAMESPACE: &str = "watched";
/// How many times as fast as on a cluster alerts, routes and scraping are.
const FACTOR: u32 = 6;
const PACE: Pace = Pace::new(FACTOR);
/// Time between two evaluations then, and two values of a query.
const STEP_MS: u64 = 15_000 / FACTOR as u64;
/// What Grafana makes of `$__rate_interval`: four times what lies between two scrapes.
const RATE_INTERVAL: &str = "1m";
/// More than people come for: it is not sold out before the end.
const COUPONS: u64 = 100_000;
/// When it opens, in seconds from now: later than its pods are started.
const OPENS: i64 = WARM_UP_SECONDS as i64 + 5;
const PER_SECOND: u32 = 60;
/// The sale without a fault. Longer than the longest window of a rule.
const CALM: Duration = Duration::from_secs(60);
/// How long until an alert must have come of a fault, and until all is over after it.
const COMES: Duration = Duration::from_secs(150);
const ENDS: Duration = Duration::from_secs(240);
/// How long the campaign may take to be ready, and its last winners to be stored.
const READY: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    e2e::demo::run("watch-demo", demo())
}

async fn demo() -> Result<(String, bool)> {
    let connections = Connections::from_env()?;
    let servers = Servers::of_stack()?;
    println!("installing the operator with Helm, and a default CampaignClass (some 5 s)");
    install(&connections).await?;
    namespace(NAMESPACE, true).await?;
    println!(
        "alerts, routes and scraping are {FACTOR} times as fast as on a cluster: `for`, `keep_firing_for`, ranges, group_wait, group_interval"
    );
    servers.quicken(PACE).await?;
    let played = play(connections, &servers).await;
    // Also after an error: the stack may be used again.
    servers.restore().await?;
    played
}

/// The sale and its faults, one after the other, and what came of it.
async fn play(connections: Connections, servers: &Servers) -> Result<(String, bool)> {
    let client = kube::Client::try_default().await.context("cannot connect to the Kubernetes API")?;
    let name = format!("sale-{:x}", jiff::Timestamp::now().as_second());
    let rules = servers.rules().await?;
    let dashboards = dashboards(&name)?;
    let panels: usize = dashboards.iter().map(|dashboard| dashboard.panels).sum();
    let asked = dashboards.into_iter().flat_map(|dashboard| dashboard.queries).chain(rules.iter().map(of_rule));
    let mut watch = Watch::new(servers, asked.collect(), STEP_MS);

    watch.say(&format!("kubectl apply: campaign {name}, {COUPONS} coupons, of the team {TEAM}, opens in {OPENS} s"));
    let mut object = manifest(NAMESPACE, &name, COUPONS, OPENS, 3600);
    object["metadata"]["labels"] = json!({"coupon-operator.io/team": TEAM});
    object["spec"]["deletionPolicy"] = json!("Delete");
    let sale = Sale::apply(&client, object).await?;
    let issuer = sale.issuer().await?;
    sale.until_phase(Phase::Open, READY).await?;
    sale.until("Ready", READY, Sale::is_ready).await?;

    // Pods start as fast as always, and alerts are faster: the start is no part of the sale that has to be quiet.
    let mut start = watch.enter("the start").await?;
    watch.until(&mut start, ENDS, |chapter| chapter.unrest().is_empty()).await?;
    watch.say(&format!("{PER_SECOND} people a second come; {} s without a fault", CALM.as_secs()));
    let crowd = Crowd::come(issuer, PER_SECOND);
    let mut calm = watch.enter("a sale").await?;
    watch.until(&mut calm, CALM, |_| false).await?;
    watch.leave(calm).await?;

    let scene = Scene { connections, sale };
    let mut broken = Vec::new();
    for faults in FAULTS {
        suffer(&mut watch, faults, &scene, &mut broken).await?;
    }
    let heard = crowd.heard();
    drop(crowd);
    watch.say("nobody comes any more; waiting until every winner is a row");
    let issued = heard.get("ISSUED").copied().unwrap_or_default();
    scene
        .sale
        .until("every winner is a row", READY, |found| {
            let status = found.status.as_ref();
            let rows = status.and_then(|status| status.persisted).and_then(|rows| u64::try_from(rows).ok());
            rows.is_some_and(|rows| rows >= issued)
        })
        .await?;
    let rules = servers.rules().await?;
    scene.leave().await?;

    println!("\nwhat people heard: {}", words(&heard));
    Ok(conclude(&watch, panels, &rules, broken))
}

/// Faults, from the first second until everybody knows that all is over. What is not as it should be is `broken`.
async fn suffer(watch: &mut Watch<'_>, faults: &[Fault], scene: &Scene, broken: &mut Vec<String>) -> Result<()> {
    let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
    let mut chapter = watch.enter(&names.join(", then ")).await?;
    for fault in faults {
        let Fault { name, expected, .. } = fault;
        watch.say(&format!("{name}; waiting for {}", expected.join(", ")));
        watch.meanwhile(&mut chapter, fault.strike(scene)).await?;
        let missing = |chapter: &Chapter| {
            expected.iter().filter(|alert| !chapter.has_come_of(alert)).copied().collect::<Vec<&str>>()
        };
        watch.until(&mut chapter, COMES, |chapter| missing(chapter).is_empty()).await?;
        for alert in missing(&chapter) {
            broken.push(format!("{name}: {alert} did not fire, or did not reach all whom it is for"));
        }
        watch.say("it is mended; waiting until the sale is as before");
        let mended = async {
            fault.mend(scene).await?;
            scene.sale.until("Ready", READY, Sale::is_ready).await
        };
        watch.meanwhile(&mut chapter, mended).await?;
    }
    watch.say("waiting until every alert is over, and everybody knows");
    watch.until(&mut chapter, ENDS, |chapter| chapter.unrest().is_empty()).await?;
    watch.leave(chapter).await
}

/// The dashboards, as somebody looks at them who has chosen this campaign.
fn dashboards(campaign: &str) -> Result<Vec<Dashboard>> {
    let interval = PACE.duration(RATE_INTERVAL).context("the rate interval is no time")?;
    let variables =
        [("namespace", NAMESPACE), ("campaign", campaign), ("class", ".*"), ("__rate_interval", interval.as_str())];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../monitoring/dashboards");
    let mut files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    let one = |path| {
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
        read(&dashboard, &variables)
    };
    files.into_iter().map(one).collect()
}

/// A rule as a question: does the series exist that it makes; and can be told what makes it fire.
fn of_rule(rule: &Rule) -> Query {
    let Rule { name, records, expression, .. } = rule;
    let (reference, ask) = if *records { ("record", name) } else { (ALERT, expression) };
    Query {
        dashboard: RULES.to_owned(),
        panel: name.clone(),
        reference: reference.to_owned(),
        ask: Ask::Expression(ask.clone()),
    }
}

/// Prints what came of it. Says it in one line, and whether it is as it should be.
fn conclude(watch: &Watch<'_>, panels: usize, rules: &[Rule], mut broken: Vec<String>) -> (String, bool) {
    let (queries, alerts, tested) = (queries(&watch.answers), alerts(&watch.chapters), tested());
    println!("\n{}\n{}", queries.text, alerts.text);
    println!("{} of {} alerts were inhibited by one that names the cause", alerts.inhibited, alerts.fired);
    let untested = rules.iter().filter(|rule| !rule.records && !tested.contains(rule.name.as_str()));
    let untested: BTreeSet<&str> = untested.map(|rule| rule.name.as_str()).collect();
    println!("no fault brings {}", Vec::from_iter(untested).join(", "));
    let sick = rules.iter().filter_map(|rule| Some(format!("rule {}: {}", rule.name, rule.error.as_ref()?)));
    broken.extend(sick);
    broken.extend(queries.broken.iter().chain(&alerts.broken).cloned());
    for each in &broken {
        println!("not as it should be: {each}");
    }
    (line(panels, tested.len(), &queries, &alerts), broken.is_empty())
}

fn words(heard: &BTreeMap<String, u64>) -> String {
    let word =
        |(code, count): (&String, &u64)| format!("{count} {}", if code.is_empty() { "nothing" } else { code.as_str() });
    heard.iter().map(word).collect::<Vec<_>>().join(", ")
}
