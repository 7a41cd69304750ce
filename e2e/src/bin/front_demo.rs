//! `make front-demo`: a sale behind a real Envoy, whose provider changes its key and whose pods are replaced while people ask; and gateways
//! that are asked by people who would be somebody else.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use coupon_testing::tokens::AUDIENCE;
use e2e::attack::Tally;
use e2e::campaign::{Sale, manifest};
use e2e::database::{connect, rows};
use e2e::front::changes;
use e2e::front::crowd::TOKEN_AGE;
use e2e::front::forger::{Forged, forge};
use e2e::front::gateway::{ENVOY_AUTHORITY, ENVOY_ISSUERS, ENVOY_LOGIN, Gateway, NGINX_ISSUERS, NGINX_LOGIN, at};
use e2e::front::login::{LoginServer, Sessions};
use e2e::front::provider::{ISSUER, Provider};
use e2e::front::smuggler::{Aim, betrayed, statuses, try_all};
use e2e::front::visitors::Visitors;
use e2e::install::{self, REALM, apply, namespace};
use e2e::issuer_client::IssuerClient;
use e2e::wait::until;
use kube::Client;
use operator::api::Phase;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use stack::Connections;
use stack::layout::{NODE_IP, on_node};
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "front";
/// Users of the first sale.
const PEOPLE: usize = 1_000;
/// Its coupons.
const COUPONS: u64 = 600;
/// They come at most for so long.
const MOST: Duration = Duration::from_secs(420);
/// So many have come when the first thing changes.
const BEFORE_CHANGES: usize = 40;
/// Within this time pods are there, or rows.
const SOON: Duration = Duration::from_secs(120);
/// 99 of 100 requests are answered within so many milliseconds, also while everything is replaced.
const LIMIT_MS: u128 = 1_000;
/// Where the gateways listen. The network is the stack's own.
const ENVOY_PORT: u16 = 18_080;
const HEADER_PORT: u16 = 18_081;
const NGINX_PORT: u16 = 18_082;
const LOGIN_PORT: u16 = 18_443;
/// Where Envoy tells its figures; the next one is that of the other.
const ADMIN_PORT: u16 = 19_901;

/// What Envoy counts: requests that it sent again, requests that it answered itself, connections of users, connections to issuers.
const FIGURES: [&str; 5] = [
    "cluster.issuers.upstream_rq_retry",
    "cluster.issuers.upstream_rq_total",
    "cluster.issuers.upstream_cx_total",
    "http.users.downstream_cx_total",
    "http.users.downstream_rq_total",
];

/// A sale behind a gateway.
#[derive(Debug, Parser)]
struct Args {
    /// Requests of honest users a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    rate: u32,
}

fn main() -> ExitCode {
    let rate = Args::parse().rate;
    e2e::demo::run("front-demo", demo(rate))
}

/// What everything here needs.
struct Stage {
    begin: Instant,
    client: Client,
    connections: Connections,
    pool: MySqlPool,
    provider: Arc<Provider>,
    /// A part of every name of this run.
    run: i64,
}

impl Stage {
    async fn set() -> Result<Self> {
        let (begin, connections) = (Instant::now(), Connections::from_env()?);
        install::install(&connections).await?;
        namespace(NAMESPACE, true).await?;
        Ok(Self {
            begin,
            client: Client::try_default().await.context("cannot connect to the Kubernetes API")?,
            pool: connect(&connections).await?,
            connections,
            provider: Arc::new(Provider::start(NODE_IP.into()).await),
            run: jiff::Timestamp::now().as_second(),
        })
    }

    fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.begin.elapsed().as_secs_f64());
    }

    /// A class whose issuers know who asks in this way, and an open sale of it; the address of its Service with it.
    async fn sale(&self, name: &str, authentication: Value, coupons: u64) -> Result<(Sale, SocketAddr)> {
        let mut class = install::class(name, &self.connections, false)?;
        class["spec"]["authentication"] = authentication;
        apply(&class).await?;
        let mut manifest = manifest(NAMESPACE, &format!("{name}-{}", self.run), coupons, -1, 3_600);
        manifest["spec"]["className"] = json!(name);
        manifest["spec"]["issuer"] = json!({"minReplicas": 2, "maxReplicas": 4});
        manifest["spec"]["deletionPolicy"] = json!("Delete");
        let sale = Sale::apply(&self.client, manifest).await?;
        sale.until_phase(Phase::Open, SOON).await?;
        sale.until("Ready", SOON, Sale::is_ready).await?;
        let issuers = sale.issuer().await?.url("");
        let host = issuers.trim_start_matches("http://").split('/').next().unwrap_or_default();
        Ok((sale, SocketAddr::new(host.parse()?, 80)))
    }

    /// Rows of a sale once there are so many.
    async fn rows(&self, sale: &Sale, count: usize) -> Result<Vec<(u64, String)>> {
        until("every winner in the database", SOON, async || {
            let found =
                rows(&self.pool, REALM, NAMESPACE, &sale.name).await.map_err(|error| error.to_string())?.winners;
            if found.len() >= count { Ok(found) } else { Err(format!("{} of {count} rows", found.len())) }
        })
        .await
    }
}

async fn demo(rate: u32) -> Result<(String, bool)> {
    println!("installing the operator with Helm (some 10 s)");
    let stage = Stage::set().await?;
    let (line, sold) = behind_tokens(&stage, rate).await?;
    let kept_out = behind_headers(&stage).await?;
    Ok((line, sold && kept_out))
}

/// Issuers check tokens themselves; Envoy passes them on.
async fn behind_tokens(stage: &Stage, rate: u32) -> Result<(String, bool)> {
    let authentication = json!({"type": "Jwt", "jwt": {
        "issuer": ISSUER, "audiences": [AUDIENCE], "keys": {"url": stage.provider.url()}, "algorithms": ["ES256"],
    }});
    let (mut sale, issuers) = stage.sale("front", authentication, COUPONS).await?;
    let changes = [(ENVOY_ISSUERS, at(issuers))];
    let gateway = Gateway::envoy("envoy", "envoy.yaml", on_node(ENVOY_PORT), on_node(ADMIN_PORT), &changes).await?;
    let through = IssuerClient::new(&gateway.url(), &sale.name)?;
    stage.say(&format!("{} in front of {} at {issuers}; {rate} requests a second", gateway.name, sale.name));

    let visitors = Visitors::new(PEOPLE, through.clone(), Arc::clone(&stage.provider), stage.begin);
    let (over, forged_enough) = (CancellationToken::new(), CancellationToken::new());
    let changing = async {
        let changed = change_everything(stage, &mut sale, &visitors).await;
        over.cancel();
        changed
    };
    let coming = async {
        let tally = visitors.come(rate, MOST, over.clone()).await;
        forged_enough.cancel();
        tally
    };
    let some = || visitors.crowd().some_winners(2);
    let (tally, changed, forged) =
        tokio::join!(coming, changing, forge(&through, &stage.provider, some, &forged_enough));
    let changed = changed?;
    stage.say("all have come and nothing changes any more; waiting until every winner is in the database");

    let told = visitors.crowd().winners();
    let stored = stage.rows(&sale, told.len()).await?;
    let figures = gateway.figures(&FIGURES).await?;
    for (name, figure) in &figures {
        println!("  {name:<36} {figure}");
    }
    println!("  {:<36} {}", "requests of honest users", tally.took_ms.len());
    println!(
        "  {:<36} {} to {} issuers, operator restarted {}",
        "more issuers", changed.before, changed.grown, changed.restarted
    );
    let good = sold_as_told(stage, &tally, &forged, &told, &stored, &visitors);
    sale.delete("background").await?;
    let line = format!(
        "front: asked={} issued={} failed={} forged_refused={} p99_ms={} rotated={} rolled={}",
        visitors.crowd().come(),
        told.len(),
        tally.failed.len(),
        forged.count(),
        tally.p99_ms(),
        changed.rotated,
        changed.rolled
    );
    Ok((line, good))
}

/// Whether all is as it should be; says what is not.
fn sold_as_told(
    stage: &Stage,
    tally: &Tally,
    forged: &Forged,
    told: &[(u64, String)],
    stored: &[(u64, String)],
    visitors: &Visitors,
) -> bool {
    for failure in tally.failed.iter().take(5).chain(tally.failed.last()) {
        println!("          {} heard {} {}", failure.user, failure.status, failure.code);
    }
    let claims = [
        (visitors.crowd().is_served(), "not everybody was told something".to_owned()),
        (tally.failed.is_empty(), format!("{} requests failed", tally.failed.len())),
        (told.iter().map(|(rank, _)| *rank).eq(1..=COUPONS), format!("{} coupons were told, of {COUPONS}", told.len())),
        (stored == told, format!("{} rows, and they are not what people were told", stored.len())),
        (
            forged.wrong.is_empty(),
            format!("forged requests were not refused: {} like {:?}", forged.wrong.len(), forged.wrong.first()),
        ),
        (forged.missing().is_empty(), format!("never tried: {:?}", forged.missing())),
        (forged.told_apart().is_empty(), format!("refusals can be told apart: {:?}", forged.told_apart())),
        (tally.p99_ms() <= LIMIT_MS, format!("99 of 100 took up to {} ms", tally.p99_ms())),
    ];
    complain(stage, claims)
}

/// Says which claims do not hold; whether all do.
fn complain(stage: &Stage, claims: impl IntoIterator<Item = (bool, String)>) -> bool {
    let broken: Vec<String> = claims.into_iter().filter(|(holds, _)| !holds).map(|(_, says)| says).collect();
    broken.iter().for_each(|says| stage.say(&format!("WRONG: {says}")));
    broken.is_empty()
}

/// What was changed in the middle of the sale, each as often as it was done.
struct Changed {
    rotated: u32,
    rolled: u32,
    before: usize,
    grown: usize,
    restarted: u32,
}

async fn change_everything(stage: &Stage, sale: &mut Sale, visitors: &Visitors) -> Result<Changed> {
    let some_came = async || match visitors.crowd().come() {
        come if come >= BEFORE_CHANGES => Ok(()),
        come => Err(format!("{come} have come")),
    };
    until("the sale has begun", SOON, some_came).await?;
    stage.say("the provider publishes another key and signs with it");
    stage.provider.rotate();
    let rotated = Instant::now();
    stage.say("the class changes; all pods are replaced, one after the other");
    changes::roll(&stage.client, sale, "front").await?;
    stage.say("all issuers are others; the provider takes its old key away");
    // Longer than anybody keeps a token.
    tokio::time::sleep_until((rotated + TOKEN_AGE * 2).into()).await;
    let old = stage.provider.retire()?.sign(&Provider::claims("somebody"));
    refused(stage, sale, &old).await?;
    stage.say("tokens by the old key are refused; one issuer more");
    let grown = changes::grow(&stage.client, sale).await?;
    stage.say("it is ready; the operator is restarted");
    changes::restart_operator().await?;
    stage.say("the other operator is ready");
    Ok(Changed { rotated: 1, rolled: 1, before: grown - 1, grown, restarted: 1 })
}

/// Waits until this token is no good at any issuer: each is asked by its own address, as a gateway keeps to few of them.
async fn refused(stage: &Stage, sale: &Sale, token: &str) -> Result<()> {
    until("a token by a key that was taken away is refused", SOON, async || {
        let all = changes::addresses(&stage.client, sale).await.map_err(|error| error.to_string())?;
        for address in all {
            let issuer = IssuerClient::new(&format!("http://{address}"), &sale.name).map_err(|e| e.to_string())?;
            let asked = issuer.http().get(issuer.url("/users/somebody")).bearer_auth(token).send();
            match asked.await.map_err(|error| format!("{address}: {error}"))?.status().as_u16() {
                401 => {}
                other => return Err(format!("{address} answered {other}")),
            }
        }
        Ok(())
    })
    .await
}

/// A gateway says who asks, and clients would say it themselves.
async fn behind_headers(stage: &Stage) -> Result<bool> {
    let authentication = json!({"type": "Header", "header": {"name": "X-User-Id"}});
    let (sale, issuers) = stage.sale("front-header", authentication, 100).await?;
    let login = LoginServer::start(on_node(LOGIN_PORT), &stage.provider.url()).await?;
    let sessions = Sessions::start(NODE_IP.into()).await?;
    let changes =
        [(ENVOY_ISSUERS, at(issuers)), (ENVOY_LOGIN, at(login.address)), (ENVOY_AUTHORITY, login.authority())];
    let envoy =
        Gateway::envoy("envoy", "envoy-header.yaml", on_node(HEADER_PORT), on_node(ADMIN_PORT + 1), &changes).await?;
    let changes = [(NGINX_ISSUERS, issuers.to_string()), (NGINX_LOGIN, sessions.address.to_string())];
    let nginx = Gateway::nginx(on_node(NGINX_PORT), &changes).await?;

    let (mut good, mut people) = (true, Vec::new());
    for gateway in [&envoy, &nginx] {
        let credential = |user: &str| match gateway.name {
            "nginx" => ("Cookie", sessions.log_in(user)),
            _ => ("Authorization", format!("Bearer {}", stage.provider.token(user))),
        };
        let found = attacked(stage, gateway, &sale, credential).await?;
        good &= found.1;
        people.extend(found.0);
    }
    let stored = stage.rows(&sale, people.len()).await?;
    people.sort();
    let told = issued_count(&sale).await?;
    good &= complain(
        stage,
        [
            (stored == people, format!("rows {stored:?}, and those who asked themselves {people:?}")),
            (told == people.len() as u64, format!("{told} are issued, and {} have asked themselves", people.len())),
        ],
    );
    sale.delete("background").await?;
    Ok(good)
}

/// Two people with a coupon each, by this gateway; then the second of them, and nobody, try to be the first, or one who never asked.
async fn attacked(
    stage: &Stage,
    gateway: &Gateway,
    sale: &Sale,
    credential: impl Fn(&str) -> (&'static str, String),
) -> Result<(Vec<(u64, String)>, bool)> {
    let through = IssuerClient::new(&gateway.url(), &sale.name)?;
    let (victim, forger) = (format!("vera-{}", gateway.name), format!("mallory-{}", gateway.name));
    let mut people = Vec::new();
    for user in [&victim, &forger] {
        let rank = rank(&through, credential(user)).await.with_context(|| format!("{user}, by {}", gateway.name))?;
        people.push((rank, user.clone()));
    }
    let own = people.last().map(|(rank, _)| *rank);
    let (mut tried, mut wrong, mut heard) = (0, Vec::new(), std::collections::BTreeMap::<u16, usize>::new());
    for (line, own) in [(Some(credential(&forger)), own), (None, None)] {
        let aim = Aim {
            path: format!("/api/coupons/{}", sale.name),
            credential: line.map(|(name, value)| format!("{name}: {value}")).unwrap_or_default(),
            forger: forger.clone(),
            victim: victim.clone(),
            ghost: format!("ghost-{}", gateway.name),
        };
        for (attempt, answers) in try_all(gateway.address, &aim).await? {
            tried += 1;
            statuses(&answers).into_iter().for_each(|status| *heard.entry(status).or_default() += 1);
            wrong.extend(betrayed(&answers, &aim, own).map(|why| format!("{}: {why}: {answers}", attempt.what)));
        }
    }
    let again = rank(&through, credential(&victim)).await?;
    ensure!(
        people.first().is_some_and(|(rank, _)| *rank == again),
        "{victim} had {:?}, and hears {again}",
        people.first()
    );
    stage.say(&format!(
        "{}: {tried} requests by hand, taken for another user: {}; statuses {heard:?}",
        gateway.name,
        wrong.len()
    ));
    wrong.iter().for_each(|why| println!("          {why}"));
    Ok((people, wrong.is_empty()))
}

/// The rank that one with this credential is told.
async fn rank(through: &IssuerClient, (name, value): (&str, String)) -> Result<u64> {
    let asked = through.http().post(through.url("/issue")).header(name, value).json(&json!({})).send().await?;
    let (status, text) = (asked.status(), asked.text().await?);
    let told: Value = serde_json::from_str(&text).unwrap_or_default();
    told["rank"].as_u64().with_context(|| format!("{status} {text}"))
}

/// As the countdown says.
async fn issued_count(sale: &Sale) -> Result<u64> {
    let issuer = sale.issuer().await?;
    let text = issuer.http().get(issuer.url("")).send().await?.text().await?;
    let told: Value = serde_json::from_str(&text)?;
    told["issuedCount"].as_u64().with_context(|| format!("no count: {text}"))
}
