//! A campaign's whole life on secured servers: every password and the authority change during a sale, dead letters are looked at with
//! the pods' login, and a deletion removes what it should.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use coupon_core::identity::CampaignId;
use coupon_kafka_admin::{KafkaAdmin, TopicState};
use coupon_ledger::kafka::client_config;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use stack::control::Action;
use stack::secured::administrator::Administrator;

use super::figures::{codes, failed, ranks_of};
use super::report::{Report, seconds};
use super::scenario::{Scenario, TestCase, play};
use crate::chaos::test_bed::TestBed;
use crate::install::{OPERATOR_SECRET, WORKLOAD_SECRET, apply, authority_secret, kubectl};
use crate::logins::{self, Login, trusted};
use crate::redis_cli::redis;
use crate::wait::until;

/// Coupons, and people who want one: more than there are, and fewer than there are while anything changes.
const COUPONS: u64 = 900;
const PEOPLE: usize = 1_000;
const STRETCH: Duration = Duration::from_secs(150);
/// The sale runs for so long before the first change.
const LEAD: Duration = Duration::from_secs(5);
/// Within this time pods with new settings have replaced the old ones: Secrets are read every 10 s, and pods start.
const FOLLOWED: Duration = Duration::from_secs(60);
/// How long one step of the rest may take.
const STEP: Duration = Duration::from_secs(60);
/// What may be answered with 503: each says when to ask again.
const ADVICE: [&str; 4] = ["REDIS_UNAVAILABLE", "UNCONFIRMED", "OVERLOADED", "NOT_OPEN"];
const LETTER: &str = "no winner at all";

/// One change, milliseconds after the first user.
struct Change {
    what: &'static str,
    from_ms: u64,
    /// All pods have followed.
    to_ms: u64,
}

/// A sale during which everything changes that can, a dead letter, and a deletion.
///
/// # Errors
/// The stack, or Kubernetes, does not do what it is told.
pub async fn life(bed: &TestBed, evidence: &Path) -> Result<Report> {
    let administrator = Administrator::of_stack(&bed.connections)?;
    // What changes here must reach pods that work.
    let now = json!({"spec": {"rollout": {"duringWindow": "Now"}}}).to_string();
    kubectl(&["patch", "campaignclass", &bed.namespace, "--type=merge", "-p", &now]).await?;
    let ready = ["wait", "--for=condition=Ready", "campaignclass", &bed.namespace, "--timeout=60s"];
    kubectl(&ready).await.context("a class with the rights that README lists is not Ready")?;
    let scenario =
        Scenario { name: "secured".to_owned(), coupons: COUPONS, users: PEOPLE, stretch: STRETCH, issuers: 2 };
    let played = play(bed, &scenario, evidence, async |case| changes(case, &administrator).await).await?;
    let (answers, mut report) = (&played.answers, played.report);
    for change in &played.acted {
        let took = change.to_ms.saturating_sub(change.from_ms);
        report.figure(change.what, seconds(Some(took)));
        let won = ranks_of(answers, &(change.from_ms..change.to_ms));
        println!("{}: {won} people won meanwhile", change.what);
    }
    let last = played.acted.last().map_or(0, |change| change.to_ms);
    let won = ranks_of(answers, &(last..u64::MAX));
    report.figure("won_afterwards", won);
    report.figure("codes", codes(answers));
    report.figure("failed", failed(answers));
    report.claim(won > 0, "nobody won after the last change: they took too long");
    report.claim(failed(answers) == 0, "answers that are neither decided nor \"ask again\"");
    let silent = answers.iter().find(|each| each.status == 503 && !ADVICE.contains(&each.code.as_str()));
    report.claim(silent.is_none(), format!("a 503 without advice: {silent:?}"));
    bed.cleaned().await?;
    let left = dead_letter(bed).await?;
    report.claim(left.is_empty(), format!("left after the deletion: {left}"));
    Ok(report)
}

/// All passwords, each at the server first, which ends the connections of before; then the authority in three steps.
async fn changes(case: &TestCase<'_>, administrator: &Administrator) -> Result<Vec<Change>> {
    case.at(LEAD).await;
    let mut logins = [Login::operator(), Login::workload()];
    let mut all = Vec::new();
    for what in ["redis_password", "database_password", "kafka_password"] {
        all.push(
            followed(case, what, async || {
                for login in &mut logins {
                    change_password(administrator, what, login).await?;
                }
                if what == "kafka_password" {
                    restart_brokers(case).await?;
                }
                for (login, name) in logins.iter().zip([OPERATOR_SECRET, WORKLOAD_SECRET]) {
                    apply(&login.secret(name)).await?;
                }
                Ok(())
            })
            .await?,
        );
    }
    let authority = &administrator.authority;
    let tell = async || -> Result<()> {
        let pem = trusted(&case.bed.connections)?.context("nobody is trusted")?;
        apply(&authority_secret(&pem)).await.map(drop)
    };
    all.push(
        followed(case, "both_authorities", async || {
            authority.introduce()?;
            tell().await
        })
        .await?,
    );
    // Whoever trusts both does not notice.
    authority.reissue()?;
    block(administrator, |administrator| administrator.show_certificates()).await?;
    restart_brokers(case).await?;
    case.say("servers show certificates of the new authority");
    all.push(
        followed(case, "one_authority", async || {
            authority.retire()?;
            tell().await
        })
        .await?,
    );
    Ok(all)
}

/// Makes a change, and waits until every pod is one that began with it.
async fn followed(case: &TestCase<'_>, what: &'static str, change: impl AsyncFnOnce() -> Result<()>) -> Result<Change> {
    let before = deployments(case).await?;
    let from_ms = case.now_ms();
    change().await?;
    case.say(&format!("{what}: changed"));
    until(&format!("{what}: all pods have followed"), FOLLOWED, async || {
        let now = deployments(case).await.map_err(|error| format!("{error:#}"))?;
        let behind: Vec<String> = before
            .iter()
            .zip(&now)
            .filter(|(before, now)| !is_followed(before, now))
            .map(|(_, now)| said(now))
            .collect();
        if now.len() == before.len() && behind.is_empty() { Ok(()) } else { Err(behind.join("; ")) }
    })
    .await?;
    let to_ms = case.now_ms();
    case.say(&format!("{what}: all pods have followed after {}", seconds(Some(to_ms - from_ms))));
    Ok(Change { what, from_ms, to_ms })
}

/// Those of issuers and consumers.
async fn deployments(case: &TestCase<'_>) -> Result<Vec<Deployment>> {
    let api: Api<Deployment> = Api::namespaced(case.bed.kubernetes.clone(), &case.bed.namespace);
    let mut all = Vec::new();
    for component in ["issuer", "consumer"] {
        all.push(api.get(&format!("{}-{component}", case.open.sale.name)).await?);
    }
    Ok(all)
}

/// Whether its pods are of a newer template, and all there are serve.
fn is_followed(before: &Deployment, now: &Deployment) -> bool {
    let template = |of: &Deployment| of.spec.as_ref().map(|spec| spec.template.clone());
    let Some(status) = &now.status else { return false };
    let (wanted, count) = (now.spec.as_ref().and_then(|spec| spec.replicas), |number: Option<i32>| number.unwrap_or(0));
    template(before) != template(now)
        && status.observed_generation == now.metadata.generation
        && count(status.replicas) == count(wanted)
        && count(status.updated_replicas) == count(wanted)
        && count(status.available_replicas) == count(wanted)
}

fn said(deployment: &Deployment) -> String {
    let status = serde_json::to_string(&deployment.status).unwrap_or_default();
    format!("{}: {status}", deployment.name_any())
}

async fn change_password(administrator: &Administrator, what: &str, login: &mut Login) -> Result<()> {
    let (user, new) = (login.user.clone(), format!("rotated-{:08x}", rand::random::<u32>()));
    let password = new.clone();
    match what {
        "redis_password" => {
            login.redis = new;
            block(administrator, move |all| all.set_redis_password(&user, &password)).await
        }
        "database_password" => {
            login.database = new;
            block(administrator, move |all| all.set_database_password(&user, &password)).await
        }
        _ => {
            login.kafka = new;
            block(administrator, move |all| all.set_kafka_password(&user, &password)).await
        }
    }
}

/// Connections of before end, and certificates are read.
async fn restart_brokers(case: &TestCase<'_>) -> Result<()> {
    for broker in case.injector.brokers() {
        case.injector.act(&broker, Action::Stop).await?;
        case.injector.act(&broker, Action::Start).await?;
    }
    Ok(())
}

async fn block(
    administrator: &Administrator,
    work: impl FnOnce(&Administrator) -> Result<()> + Send + 'static,
) -> Result<()> {
    let administrator = administrator.clone();
    tokio::task::spawn_blocking(move || work(&administrator)).await?
}

/// A small sale with a record that is no winner: its dead letter is listed by a pod. Returns what its deletion leaves that it should not.
async fn dead_letter(bed: &TestBed) -> Result<String> {
    let name = format!("letters-{:x}", jiff::Timestamp::now().as_millisecond());
    let open = bed.open(&name, 5, 1).await?;
    let issuer = open.issuer(STEP)?;
    let answers = issuer.rush(&crate::issuer_client::users("user", 5)).await;
    ensure!(answers.iter().all(crate::issuer_client::Response::issued), "after all changes: {answers:?}");
    let kafka = logins::kafka(&bed.connections)?;
    let producer: FutureProducer = client_config(&kafka, "outages", &[("acks", "all")]).create()?;
    let topic = open.campaign.topic();
    let record = FutureRecord::<str, str>::to(&topic).partition(0).payload(LETTER);
    producer.send(record, STEP).await.map_err(|(error, _)| error)?;
    let consumer = format!("deploy/{name}-consumer");
    let list = ["exec", "-n", &bed.namespace, &consumer, "--", "coupon-consumer", "dead-letters", "list", "--json"];
    let listed = until("the dead letter in the pods' list", STEP, async || {
        let listed = kubectl(&list).await.map_err(|error| format!("{error:#}"))?;
        let all: Value = serde_json::from_str(&listed).map_err(|error| error.to_string())?;
        if all["letters"].as_array().is_some_and(|letters| letters.len() == 1) { Ok(all) } else { Err(listed) }
    })
    .await?;
    println!("dead letters, as a pod lists them: {listed}");
    until("all rows", STEP, async || match bed.sources.rows(&open.campaign).await {
        Ok(rows) if rows.len() == 5 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    open.sale.delete("background").await?;
    left(bed, &open.campaign).await
}

/// Keys and topics of a campaign whose policy is Delete. The dead-letter topic with its letter stays: it tells of somebody's winner.
async fn left(bed: &TestBed, campaign: &CampaignId) -> Result<String> {
    let url = bed.connections.redis.as_deref().context("no Redis")?;
    let keys = redis(url, &["KEYS", &format!("*{}*", campaign.hash_tag())]).await?;
    let admin = KafkaAdmin::new(&client_config(&logins::kafka(&bed.connections)?, "outages", &[]))?;
    let topics = until("the topic gone", STEP, async || {
        let found = admin.describe_topics(&[campaign.topic()]).await.map_err(|error| error.to_string())?;
        let there = found.into_iter().filter(|(_, topic)| !matches!(topic, Ok(TopicState::Absent)));
        let there: Vec<String> = there.map(|(name, _)| name).collect();
        if there.is_empty() { Ok(there) } else { Err(there.join(", ")) }
    });
    let topics = topics.await.map_or_else(|error| format!("{error:#}"), |left| left.join(", "));
    Ok([keys.trim(), &topics].into_iter().filter(|each| !each.is_empty()).collect::<Vec<_>>().join(", "))
}
