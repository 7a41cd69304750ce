//! `make route-demo`: users call the address that `status.url` says, of campaigns with an HTTPRoute, for a path or for a whole host, and of one with an
//! Ingress. Contour has a real Envoy lead them to the issuers, by TLS with the certificates of two Secrets.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::campaign::{Sale, manifest};
use e2e::database::{connect, rows};
use e2e::front::caller::{Caller, Heard};
use e2e::front::contour::{self, Contour};
use e2e::install::{self, REALM, apply, namespace};
use e2e::issuer_client::users;
use e2e::wait::until;
use futures::stream::{self, StreamExt};
use kube::Client;
use operator::api::Phase;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use stack::Connections;
use stack::services::Certificate;

const NAMESPACE: &str = "doors";
/// In the namespace of the campaign that has an Ingress.
const TLS_SECRET: &str = "coupons-tls";
/// More people than coupons.
const PEOPLE: usize = 30;
const COUPONS: u64 = 20;
/// Calls at a time.
const AT_A_TIME: usize = 6;
/// Within this time pods are there, or rows, or a gateway has heard of something.
const SOON: Duration = Duration::from_secs(120);

/// A way in.
struct Door<'a> {
    /// What it is called, and what the class and the campaign are.
    name: &'a str,
    /// `routing` of the class.
    routing: Value,
    /// The reason of `RouteReady` once it is taken.
    taken: &'a str,
    /// What the host has.
    certificate: &'a Certificate,
}

fn main() -> ExitCode {
    e2e::demo::run("route-demo", async { Ok((demo().await?, true)) })
}

/// What everything here needs.
struct Stage {
    begin: Instant,
    client: Client,
    connections: Connections,
    pool: MySqlPool,
    contour: Contour,
    /// A part of every name of this run.
    run: i64,
}

impl Stage {
    fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.begin.elapsed().as_secs_f64());
    }
}

async fn demo() -> Result<String> {
    let begin = Instant::now();
    println!("installing the operator with Helm (some 10 s)");
    let connections = Connections::from_env()?;
    install::install(&connections).await?;
    namespace(NAMESPACE, true).await?;
    let made = |names: &'static str| tokio::task::spawn_blocking(move || Certificate::naming(names));
    let (of_gateway, of_ingress) =
        (made("DNS:coupons.example,DNS:*.hosts.example").await??, made("DNS:doors.coupons.example").await??);
    apply(&contour::secret(NAMESPACE, TLS_SECRET, &of_ingress)?).await?;
    let stage = Stage {
        begin,
        client: Client::try_default().await.context("cannot connect to the Kubernetes API")?,
        pool: connect(&connections).await?,
        connections,
        contour: Contour::start(&of_gateway).await?,
        run: jiff::Timestamp::now().as_second(),
    };
    stage.say("Contour runs, and its Gateway is programmed");
    let port = Contour::address().port();
    let by_gateway = |template: String| {
        let parent =
            json!({"name": contour::GATEWAY, "namespace": contour::NAMESPACE, "sectionName": contour::LISTENER});
        json!({"urlTemplate": template, "httpRoute": {"parentRefs": [parent]}})
    };
    let by_path = by_gateway(format!("https://coupons.example:{port}/{{namespace}}/{{couponId}}/issue"));
    let by_host = by_gateway(format!("https://{{couponId}}.hosts.example:{port}/issue"));
    let by_ingress = json!({
        "urlTemplate": format!("https://{{namespace}}.coupons.example:{port}/api/coupons/{{couponId}}/issue"),
        "ingress": {"className": contour::INGRESS_CLASS, "tlsSecretName": TLS_SECRET},
    });
    let doors = [
        Door { name: "path", routing: by_path, taken: "RouteAccepted", certificate: &of_gateway },
        Door { name: "host", routing: by_host, taken: "RouteAccepted", certificate: &of_gateway },
        Door { name: "ingress", routing: by_ingress, taken: "AddressAssigned", certificate: &of_ingress },
    ];
    let mut issued = 0;
    for door in &doors {
        issued += sell(&stage, door).await.with_context(|| format!("by {}", door.name))?;
    }
    Ok(format!("routes: doors={} issued={issued} asked={}", doors.len(), doors.len() * PEOPLE))
}

/// A sale by one way in, until that is shut; how many coupons it was.
async fn sell(stage: &Stage, door: &Door<'_>) -> Result<usize> {
    let mut class = install::class(door.name, &stage.connections, false)?;
    class["spec"]["routing"] = door.routing.clone();
    apply(&class).await?;
    let mut wanted = manifest(NAMESPACE, &format!("{}-{}", door.name, stage.run), COUPONS, -1, 3_600);
    wanted["spec"]["className"] = json!(door.name);
    wanted["spec"]["deletionPolicy"] = json!("Delete");
    let sale = Sale::apply(&stage.client, wanted).await?;
    sale.until_phase(Phase::Open, SOON).await?;
    let said = sale.until_condition("RouteReady", "True", door.taken).await?;
    let status = sale.get().await?.status.context("no status")?;
    let url = status.url.context("status says no address")?;
    stage.say(&format!("{}: {said}; users call {url}", door.name));

    let caller = Caller { at: Contour::address(), trusted: door.certificate };
    let people = users(door.name, PEOPLE);
    let told = everybody(&caller, &url, &people).await?;
    asked_for_again(&caller, &url, &told).await?;
    let beside = url.replace(&sale.name, "another");
    nobody(&caller, &beside).await.map_err(|heard| anyhow::anyhow!("{beside} is answered: {heard}"))?;
    let stored = until("every winner in the database", SOON, async || {
        let found = rows(&stage.pool, REALM, NAMESPACE, &sale.name).await.map_err(|error| error.to_string())?.winners;
        if found.len() >= told.len() { Ok(found) } else { Err(format!("{} of {} rows", found.len(), told.len())) }
    })
    .await?;
    ensure!(stored == told, "people were told {told:?}, and the database has {stored:?}");
    stage.say(&format!("{}: {} of {PEOPLE} have a coupon, each a row", door.name, told.len()));

    class["spec"]["routing"] = json!({"urlTemplate": door.routing["urlTemplate"]});
    apply(&class).await?;
    until("nobody is led in any more", SOON, async || nobody(&caller, &url).await).await?;
    stage.contour.alive()?;
    let late = sale.issuer().await?.ask("late", None).await;
    ensure!(late.code == "SOLD_OUT", "the Service answers {late:?}");
    stage.say(&format!(
        "{}: the class asks for no route any more, and nobody is led in; the Service answers",
        door.name
    ));
    sale.delete("background").await?;
    Ok(told.len())
}

/// Everybody asks for a coupon; who has won, by rank.
async fn everybody(caller: &Caller<'_>, url: &str, people: &[String]) -> Result<Vec<(u64, String)>> {
    // Envoy hears of a route a moment after the API server does.
    let first = people.first().context("nobody comes")?;
    until("the first user is answered", SOON, async || match caller.ask(url, first).await {
        Ok(heard) if heard.status == 200 => Ok(()),
        Ok(heard) => Err(format!("{heard:?}")),
        Err(error) => Err(format!("{error:#}")),
    })
    .await?;
    let asking = people.iter().map(async |user| (user, caller.ask(url, user).await));
    let heard: Vec<_> = stream::iter(asking).buffer_unordered(AT_A_TIME).collect().await;
    let mut told = Vec::new();
    for (user, answer) in heard {
        let answer = answer.with_context(|| user.clone())?;
        match (answer.status, answer.body["rank"].as_u64(), answer.text("code")) {
            (200, Some(rank), _) => told.push((rank, user.clone())),
            (400, _, "SOLD_OUT") => {}
            _ => anyhow::bail!("{user} heard {answer:?}"),
        }
    }
    told.sort();
    let ranks = told.iter().map(|(rank, _)| *rank);
    ensure!(ranks.eq(1..=COUPONS), "{COUPONS} coupons, and these were told: {told:?}");
    Ok(told)
}

/// Whether nobody is met there; what was heard otherwise. Where it knows no host Envoy does not listen, and for one that it does not know it has no
/// certificate to show.
async fn nobody(caller: &Caller<'_>, url: &str) -> Result<(), String> {
    match caller.read(url).await.map_err(|error| format!("{error:#}")) {
        Ok(Heard { status: 404, .. }) => Ok(()),
        Err(error) if ["curl: (7)", "curl: (35)"].iter().any(|code| error.contains(code)) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// What stands below the address is led in as well.
async fn asked_for_again(caller: &Caller<'_>, url: &str, told: &[(u64, String)]) -> Result<()> {
    let base = url.strip_suffix("/issue").with_context(|| format!("{url} is no request for a coupon"))?;
    let (rank, user) = told.last().context("nobody has won")?;
    let heard = caller.read(&format!("{base}/users/{user}")).await?;
    ensure!(
        heard.status == 200 && heard.body["coupons"][0]["rank"].as_u64() == Some(*rank),
        "{user} has {rank}, and hears {heard:?}"
    );
    let campaign = caller.read(base).await?;
    ensure!(campaign.status == 200, "what is sold cannot be read: {campaign:?}");
    Ok(())
}
