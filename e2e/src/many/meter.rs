//! What the operator, the API server, Redis and Kafka have done so far, and the difference between two readings.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::chaos::inject::processes_of;
use crate::install::SYSTEM_NAMESPACE;
use crate::redis_cli::redis;

/// Resources that nobody but the operator writes, in this stack, while nothing changes. Leases are not among them.
const OURS: [&str; 7] =
    ["couponcampaigns", "campaignclasses", "deployments", "secrets", "services", "poddisruptionbudgets", "events"];
/// Clock ticks in a second, as `/proc` counts them.
const TICKS: f64 = 100.0;

/// Counters at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    at: Instant,
    /// Requests to the API server about what the operator works with, but for watches.
    api_requests: f64,
    /// Those that write, by verb and resource.
    api_writes: BTreeMap<String, f64>,
    passes: f64,
    kafka: f64,
    redis: f64,
    cpu_seconds: f64,
    /// Memory of the operator's process, MiB.
    pub rss_mib: f64,
}

/// What happened between two readings, per second unless said.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Costs {
    /// Requests to the API server in each pass.
    pub api_calls_per_pass: f64,
    /// Writes to the API server, per minute.
    pub api_writes_per_minute: f64,
    /// And which.
    pub api_writes: BTreeMap<String, f64>,
    /// Passes.
    pub passes_per_second: f64,
    /// Administrative requests to Kafka.
    pub kafka_per_second: f64,
    /// Commands to Redis, of pods as well.
    pub redis_per_second: f64,
    /// Processor time of the operator, in percent of one core.
    pub cpu_percent: f64,
    /// Memory of the operator at the end, MiB.
    pub rss_mib: f64,
}

impl Reading {
    /// What happened since `before`.
    pub fn since(&self, before: &Self) -> Costs {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |now: f64, then: f64| two((now - then) / seconds);
        let passes = self.passes - before.passes;
        let new = |(what, count): (&String, &f64)| (what.clone(), count - before.api_writes.get(what).unwrap_or(&0.0));
        let api_writes: BTreeMap<_, _> = self.api_writes.iter().map(new).filter(|(_, count)| *count > 0.0).collect();
        Costs {
            api_calls_per_pass: two((self.api_requests - before.api_requests) / passes.max(1.0)),
            api_writes_per_minute: two(api_writes.values().sum::<f64>() * 60.0 / seconds),
            api_writes,
            passes_per_second: two(passes / seconds),
            kafka_per_second: rate(self.kafka, before.kafka),
            redis_per_second: rate(self.redis, before.redis),
            cpu_percent: two((self.cpu_seconds - before.cpu_seconds) * 100.0 / seconds),
            rss_mib: two(self.rss_mib),
        }
    }
}

fn two(value: f64) -> f64 {
    // A sum of nothing is minus zero.
    (value * 100.0).round() / 100.0 + 0.0
}

/// Reads all counters.
pub async fn read(client: &Client, redis_url: &str) -> Result<Reading> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let found = pods.list(&ListParams::default().labels("app.kubernetes.io/name=coupon-operator")).await?.items;
    let operator = found.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none()).context("no operator")?;
    let pid = *processes_of(&operator.uid().context("no UID")?, "coupon-operator")?.first().context("no process")?;
    let ip = operator.status.and_then(|status| status.pod_ip).context("the operator has no address")?;
    let metrics = reqwest::get(format!("http://{ip}:8080/metrics")).await?.error_for_status()?.text().await?;
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let server = client.request_text(request).await?;
    let info = redis(redis_url, &["INFO", "stats"]).await?;
    let processed = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    let proc = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let (stat, status) = (proc("stat")?, proc("status")?);
    // After the program's name, which may hold anything: state is the first, utime and stime the 12th and 13th.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> = after.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect();
    let ticks = fields.get(10).zip(fields.get(11)).map(|(user, system)| user + system).context("no processor time")?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no memory")?;
    Ok(Reading {
        at: Instant::now(),
        api_requests: requests(&server).values().sum(),
        api_writes: writes(&server),
        passes: sum(&metrics, &|line| line.contains("operator_reconciliations_total{")),
        kafka: sum(&metrics, &|line| line.contains("operator_kafka_requests{")),
        redis: processed.context("Redis does not count")?.trim().parse()?,
        cpu_seconds: ticks / TICKS,
        rss_mib: rss.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0,
    })
}

/// Requests to the API server about what the operator works with, by verb and resource; but for watches, and for the campaigns
/// that people create.
fn requests(exposition: &str) -> BTreeMap<String, f64> {
    let label = |line: &str, name: &str| {
        let (_, after) = line.split_once(&format!(",{name}=\""))?;
        after.split_once('"').map(|(value, _)| value.to_owned())
    };
    let mut found = BTreeMap::new();
    for line in exposition.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let (Some(verb), Some(resource), Some(count)) = (label(line, "verb"), label(line, "resource"), value(line))
        else {
            continue;
        };
        // Asked as if, and nothing is written.
        let is_real = label(line, "dry_run").is_none_or(|dry_run| dry_run.is_empty());
        let what = format!("{verb} {resource}");
        if is_real && verb != "WATCH" && OURS.contains(&resource.as_str()) && what != "POST couponcampaigns" {
            *found.entry(what).or_default() += count;
        }
    }
    found
}

/// Those of them that write.
pub fn writes(exposition: &str) -> BTreeMap<String, f64> {
    let reads = |what: &str| what.starts_with("GET ") || what.starts_with("LIST ");
    requests(exposition).into_iter().filter(|(what, _)| !reads(what)).collect()
}

fn value(line: &str) -> Option<f64> {
    line.rsplit(' ').next()?.parse().ok()
}

/// The sum of the values on these lines of an exposition.
fn sum(text: &str, wanted: &dyn Fn(&str) -> bool) -> f64 {
    text.lines().filter(|line| wanted(line)).filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_verb_and_resource() {
        let line = |verb: &str, resource: &str, code: u16| {
            format!(
                "apiserver_request_total{{code=\"{code}\",group=\"\",resource=\"{resource}\",scope=\"resource\",\
                 subresource=\"status\",verb=\"{verb}\",version=\"v1\"}} 2\n"
            )
        };
        let text = [
            line("PATCH", "secrets", 200),
            line("PATCH", "secrets", 409),
            line("WATCH", "secrets", 200),
            line("PUT", "leases", 200),
            line("POST", "couponcampaigns", 201),
            line("GET", "events", 200),
        ];
        let expected = [("GET events", 2.0), ("PATCH secrets", 4.0)].map(|(what, count)| (what.to_owned(), count));
        assert_eq!(requests(&text.concat()), BTreeMap::from(expected));
        assert_eq!(writes(&text.concat()), BTreeMap::from([("PATCH secrets".to_owned(), 4.0)]));
    }

    #[test]
    fn values_are_summed_over_their_labels() {
        let text = "# HELP a words 7\na{verb=\"GET\"} 2\na{verb=\"PATCH\"} 3\nab 9\n";
        assert_eq!(sum(text, &|line| line.starts_with("a{")), 5.0);
    }
}
