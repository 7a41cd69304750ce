//! Redis forgets a sale with very many winners. The operator brings them back under the limits that its chart sets.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use coupon_core::identity::CampaignId;
use coupon_ledger::database::{self, CampaignRowId};
use coupon_ledger::redis::RedisKeys;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use operator::api::Phase;
use serde_json::json;
use sqlx::MySqlPool;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::fault_injector::FaultInjector;
use super::figures::{codes, failed};
use super::report::{Report, seconds};
use crate::campaign::{Sale, manifest};
use crate::chaos::checker::check;
use crate::chaos::inject::processes_of;
use crate::chaos::ledger::Ledger;
use crate::chaos::load::{Answer, LoadGenerator, time_to_issue_again};
use crate::chaos::report::save_evidence;
use crate::chaos::test_bed::{SETTLE, TestBed, millis};
use crate::install::{REALM, SYSTEM_NAMESPACE, kubectl};
use crate::issuer_client::IssuerClient;
use crate::memory;
use crate::redis_cli::redis;
use crate::wait::until;

/// Coupons that are left when the sale begins.
const LEFT: u64 = 1_000;
/// A campaign has no more than ten million.
pub const MOST: u64 = 10_000_000 - LEFT;
/// Rows of one statement.
const ROWS: u64 = 100_000;
/// How often Redis forgets everything.
const TIMES: usize = 2;
/// Until a rank is given again: for a million winners, and for each million more.
const AGAIN: Duration = Duration::from_secs(15);
/// How long it is waited for all the same, to have a figure: so many times that.
const PATIENCE: u32 = 20;
/// The first opening may take this long for each million: nobody waits for it.
const OPENING: Duration = Duration::from_secs(300);
/// The sale runs for so long before Redis forgets, each time.
const LEAD: Duration = Duration::from_secs(3);
/// A person comes this often.
const PACE: Duration = Duration::from_millis(500);
/// Then the coupons that are left are sold in this time.
const REST: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(15);

/// The operator's one process.
struct Operator {
    /// UID of its pod.
    pod: String,
    process: i32,
    /// What the chart allows it, bytes.
    limit: u64,
}

/// A sale that has had so many winners when it begins.
struct Old<'a> {
    bed: &'a TestBed,
    campaign: CampaignId,
    row: CampaignRowId,
    winners: u64,
    begin: Instant,
}

/// Two losses of everything.
pub async fn repair(bed: &TestBed, winners: u64, evidence: &Path) -> Result<Report> {
    ensure!(bed.connections.redis_sentinels.is_none(), "this needs one Redis by itself: make outages");
    bed.fresh_operator().await?;
    let name = format!("repair-large-{:x}", jiff::Timestamp::now().as_millisecond());
    let campaign = CampaignId::with_default_names(REALM, &bed.namespace, &name)?;
    let pool = &bed.sources.pool;
    database::migrate(pool).await?;
    let row = database::register(pool, &campaign, winners + LEFT).await?.id;
    let old = Old { bed, campaign, row, winners, begin: Instant::now() };
    old.say(&format!("{name}: {winners} rows are written"));
    store_rows(pool, row, winners).await?;

    let mut manifest = manifest(&bed.namespace, &name, winners + LEFT, -1, 3600);
    // Not through proxies: what is measured is the product.
    manifest["spec"]["className"] = json!("default");
    manifest["spec"]["partitions"] = json!(2);
    manifest["spec"]["issuer"] = json!({"minReplicas": 1, "maxReplicas": 1});
    manifest["spec"]["deletionPolicy"] = json!("Delete");
    let sale = Sale::apply(&bed.kubernetes, manifest).await?;
    let report = old.sell(&sale, evidence).await;
    // Also after an error: the stack is used again.
    kubectl(&["delete", "couponcampaign", &name, "-n", &bed.namespace, "--wait=false"]).await?;
    report
}

impl Old<'_> {
    fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.begin.elapsed().as_secs_f64());
    }

    async fn sell(&self, sale: &Sale, evidence: &Path) -> Result<Report> {
        let Self { bed, campaign, winners, .. } = self;
        let applied = Instant::now();
        sale.until_phase(Phase::Open, OPENING * millions(*winners)).await?;
        let opening_ms = millis(applied.elapsed());
        self.say(&format!("the ledger is continued after {:.1} s", applied.elapsed().as_secs_f64()));
        sale.issuer().await?;
        let operator = Operator::of(&bed.kubernetes).await?;
        let load = LoadGenerator::new(
            IssuerClient::with_patience(&self.address(sale).await?, &sale.name, REQUEST)?,
            Instant::now(),
        );
        let again = self.lose_and_wait(&load).await?;

        let (now, everybody) = (Instant::now(), usize::try_from(LEFT)?);
        let names = (0..everybody).map(|number| format!("late-{number:05}")).collect();
        load.arrive(names, now, REST, now + REST + SETTLE).await;
        let ledger = self.settled().await?;
        let answers: Vec<Answer> = load
            .answers()
            .into_iter()
            // The rank of a winner of before is nobody's here: it becomes 0, which the checker does not let pass.
            .map(|answer| Answer { rank: answer.rank.map(|rank| rank.saturating_sub(*winners)), ..answer })
            .collect();
        let violations = check(LEFT, &answers, &ledger);
        let kept = kept(&bed.sources.pool, self.row, *winners).await?;
        let (key, last) = (RedisKeys::of(campaign).issued, winners.to_string());
        let members = redis(&bed.sources.redis, &["ZCOUNT", &key, "1", &last]).await?;
        let members: u64 = members.trim().parse()?;
        let (peak, restarts) = (operator.peak(), FaultInjector::operator(&bed.kubernetes).restarts().await?);
        let replaced = Operator::of(&bed.kubernetes).await.is_ok_and(|now| now.pod != operator.pod);

        let mut report = Report::new("repair-large");
        report.figure("winners", winners);
        report.figure("first_opening", seconds(Some(opening_ms)));
        for (time, again_ms) in again.iter().enumerate() {
            report.figure(&format!("flush_{}_to_new_rank", time + 1), seconds(*again_ms));
        }
        let mib = |bytes: u64| format!("{}MiB", bytes / (1 << 20));
        report.figure("operator_peak", peak.map_or_else(|| "-".to_owned(), mib));
        report.figure("operator_limit", mib(operator.limit));
        report.figure("operator_restarts", restarts);
        report.promise(&violations);
        report.figure("codes", codes(&answers));
        report.figure("failed", failed(&answers));
        let limit = AGAIN * millions(*winners);
        for again_ms in &again {
            let held = again_ms.is_some_and(|ms| u128::from(ms) <= limit.as_millis());
            report.claim(held, format!("a new rank {again_ms:?} ms after FLUSHALL, not within {} s", limit.as_secs()));
        }
        let within = peak.is_some_and(|peak| peak <= operator.limit);
        report.claim(within, format!("the operator's memory was {peak:?} bytes of {}", operator.limit));
        report.claim(restarts == 0 && !replaced, format!("the operator was restarted: {restarts} times"));
        report.claim(kept == *winners, format!("{kept} of {winners} rows are as they were"));
        report.claim(members == *winners, format!("Redis holds {members} of {winners} winners of before"));
        report.claim(failed(&answers) == 0, "answers that are neither decided nor \"ask again\"");
        if !violations.is_empty() {
            save_evidence(&sale.name, &answers, &ledger, &bed.namespace, evidence).await?;
            println!("evidence: {}", evidence.display());
        }
        Ok(report)
    }

    /// Where the issuers' Service is.
    async fn address(&self, sale: &Sale) -> Result<String> {
        let services: Api<Service> = Api::namespaced(self.bed.kubernetes.clone(), &sale.namespace);
        let service = services.get(&format!("{}-issuer", sale.name)).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
        Ok(format!("http://{address}"))
    }

    /// People come one after another while Redis is emptied. For each time, milliseconds until somebody heard a new rank.
    async fn lose_and_wait(&self, load: &LoadGenerator) -> Result<Vec<Option<u64>>> {
        let over = AtomicBool::new(false);
        let patience = AGAIN * millions(self.winners) * PATIENCE;
        let deadline = Instant::now() + patience * u32::try_from(TIMES)?;
        let coming = async {
            let mut clients = JoinSet::new();
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let (load, user) = (load.clone(), format!("early-{number:05}"));
                clients.spawn(async move { load.insist(&user, deadline).await });
                sleep(PACE).await;
            }
            clients.join_all().await;
        };
        let losing = async {
            let mut all = Vec::new();
            for time in 1..=TIMES {
                sleep(LEAD).await;
                redis(&self.bed.sources.redis, &["FLUSHALL"]).await?;
                let flushed_ms = load.now_ms();
                self.say(&format!("FLUSHALL, number {time}"));
                let again = until("a new rank", patience, async || {
                    time_to_issue_again(&load.answers(), flushed_ms).ok_or_else(|| "nobody heard one".to_owned())
                })
                .await;
                if let Err(error) = &again {
                    self.say(&format!("{error:#}"));
                }
                all.push(again.ok().map(millis));
            }
            Ok::<_, anyhow::Error>(all)
        };
        let acting = async {
            let lost = losing.await;
            over.store(true, Ordering::Relaxed);
            lost
        };
        let (all, ()) = tokio::join!(acting, coming);
        all
    }

    /// What the three say of the ranks that were left at the beginning, once all of them are rows.
    async fn settled(&self) -> Result<Ledger> {
        let look = async || -> Result<Ledger> { self.bed.sources.read_above(&self.campaign, self.winners).await };
        let whole = async || {
            let ledger = look().await.map_err(|error| format!("{error:#}"))?;
            match ledger.rows.len() as u64 >= LEFT && ledger.rows == ledger.members {
                true => Ok(ledger),
                false => Err(format!("{} rows, {} winners", ledger.rows.len(), ledger.members.len())),
            }
        };
        match until("rows for all", SETTLE, whole).await {
            Ok(ledger) => Ok(ledger),
            // What is wrong with it is the checker's to say.
            Err(_) => look().await,
        }
    }
}

fn millions(winners: u64) -> u32 {
    u32::try_from(winners.div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1)
}

/// Winners of an earlier time, in statements of [`ROWS`] rows.
async fn store_rows(pool: &MySqlPool, row: CampaignRowId, winners: u64) -> Result<()> {
    for from in (1..=winners).step_by(usize::try_from(ROWS)?) {
        let to = (from + ROWS - 1).min(winners);
        let rows = format!(
            "INSERT INTO issued_coupon (campaign_id, issue_rank, user_id, user_nth, request_key, epoch, occurred_at_ms) \
             SELECT ?, seq, {USER}, 1, CONCAT('request-key-', seq), 1, 1 FROM seq_{from}_to_{to}"
        );
        let written = sqlx::query(sqlx::AssertSqlSafe(rows)).bind(row.0).execute(pool).await?;
        ensure!(written.rows_affected() == to + 1 - from, "{} rows were written", written.rows_affected());
    }
    Ok(())
}

/// The user of a row, by its rank.
const USER: &str = "CONCAT('00000000-0000-4000-8000-', LPAD(seq, 12, '0'))";

/// How many of these rows are as they were written.
async fn kept(pool: &MySqlPool, row: CampaignRowId, winners: u64) -> Result<u64> {
    let question = format!(
        "SELECT COUNT(*) FROM (SELECT issue_rank AS seq, user_id FROM issued_coupon WHERE campaign_id = ? AND issue_rank <= ?) old \
         WHERE user_id = {USER}"
    );
    let count: i64 =
        sqlx::query_scalar(sqlx::AssertSqlSafe(question)).bind(row.0).bind(winners).fetch_one(pool).await?;
    Ok(count.unsigned_abs())
}

impl Operator {
    async fn of(client: &Client) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
        let found = pods.list(&ListParams::default().labels("app.kubernetes.io/name=coupon-operator")).await?.items;
        let pod = found.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none()).context("no operator")?;
        let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let limit = containers.find_map(|each| each.resources.as_ref()?.limits.as_ref()?.get("memory").cloned());
        let limit = limit.context("the operator has no memory limit")?;
        let limit = memory::bytes(&limit.0).with_context(|| format!("{} is no amount of memory", limit.0))?;
        let pod = pod.uid().context("a pod without a UID")?;
        let process = processes_of(&pod, "coupon-operator")?.first().context("no process of the operator")?.as_raw();
        Ok(Self { pod, process, limit })
    }

    /// The most memory that the process ever had, bytes; `None`: it is gone.
    fn peak(&self) -> Option<u64> {
        memory::peak(self.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_allowed_grows_with_each_million() {
        assert_eq!([1, 1_000_000, 1_000_001, MOST].map(millions), [1, 1, 2, 10]);
    }
}
