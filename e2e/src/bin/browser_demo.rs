//! `make browser-demo`: the page of `examples/browser` in a real Chromium, and a real sale behind it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use coupon_testing::tokens::AUDIENCE;
use e2e::browser::chromium::{Chromium, Window};
use e2e::browser::relay::Relay;
use e2e::browser::shop::Shop;
use e2e::browser::stand_in::{SENTENCES, StandIn};
use e2e::campaign::{Sale, from_now, manifest};
use e2e::database::{connect, rows};
use e2e::front::provider::{ISSUER, Provider};
use e2e::install::{self, REALM, apply, namespace};
use e2e::wait::until;
use kube::Client;
use operator::api::Phase;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use stack::Connections;
use stack::layout::NODE_IP;

const NAMESPACE: &str = "browser";
/// Coupons of the first sale: as many as people who win one in its scenes.
const COUPONS: u64 = 5;
/// Coupons of the sale that opens while somebody waits for it.
const LATER_COUPONS: u64 = 10;
/// In so many seconds it opens: its pods have to be there some time before.
const OPENS_IN: i64 = 45;
/// Within this time pods are there, or rows.
const SOON: Duration = Duration::from_secs(120);
/// Where the shops are. The first one's origin is the one that the classes allow.
const SHOP: u16 = 18_100;
const OTHER_SHOP: u16 = 18_101;
const LATER_SHOP: u16 = 18_102;
const STAND_IN_SHOP: u16 = 18_103;

/// What people see of the page.
const TOLD: &str = "#told";
const BUTTON: &str = "#ask";
const COUNTDOWN: &str = "#countdown";

fn main() -> ExitCode {
    e2e::demo::run("browser-demo", demo())
}

/// What everything here needs.
struct Stage {
    begin: Instant,
    client: Client,
    connections: Connections,
    pool: MySqlPool,
    provider: Provider,
    chromium: Chromium,
    /// A part of every name of this run.
    run: i64,
}

/// A sale with the way to it and the shop that has the page.
struct Fair {
    sale: Sale,
    relay: Relay,
    shop: Shop,
}

impl Stage {
    async fn set() -> Result<Self> {
        let (begin, connections) = (Instant::now(), Connections::from_env()?);
        let chromium = Chromium::start().await?;
        install::install(&connections).await?;
        namespace(NAMESPACE, true).await?;
        Ok(Self {
            begin,
            client: Client::try_default().await.context("cannot connect to the Kubernetes API")?,
            pool: connect(&connections).await?,
            connections,
            provider: Provider::start(NODE_IP.into()).await,
            chromium,
            run: jiff::Timestamp::now().as_second(),
        })
    }

    fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.begin.elapsed().as_secs_f64());
    }

    /// A sale of a class that takes tokens and lets pages of the shop at this port ask. `more` is what else the class says.
    async fn fair(&self, name: &str, port: u16, more: Value, coupons: u64, start: i64) -> Result<Fair> {
        let mut class = install::class(name, &self.connections, false)?;
        class["spec"]["routing"] = json!({"cors": {"allowedOrigins": [format!("http://localhost:{port}")]}});
        class["spec"]["authentication"] = json!({"type": "Jwt", "jwt": {
            "issuer": ISSUER, "audiences": [AUDIENCE], "keys": {"url": self.provider.url()}, "algorithms": ["ES256"],
        }});
        for (field, value) in more.as_object().into_iter().flatten() {
            class["spec"][field] = value.clone();
        }
        apply(&class).await?;
        let mut manifest = manifest(NAMESPACE, &format!("{name}-{}", self.run), coupons, start, 3_600);
        manifest["spec"]["className"] = json!(name);
        manifest["spec"]["deletionPolicy"] = json!("Delete");
        let sale = Sale::apply(&self.client, manifest).await?;
        let issuers = sale.issuer().await?.url("");
        let host = issuers.trim_start_matches("http://").split('/').next().unwrap_or_default();
        let relay = Relay::start(SocketAddr::new(host.parse()?, 80)).await?;
        let shop = Shop::open(port, relay.address, &sale.name).await?;
        Ok(Fair { sale, relay, shop })
    }

    /// A browser of its own, in which this user has logged in with a good token.
    async fn visitor(&self, shop: &Shop, user: &str) -> Result<Window<'_>> {
        self.visitor_with(shop, user, [self.provider.token(user)]).await
    }

    async fn visitor_with(
        &self,
        shop: &Shop,
        user: &str,
        tokens: impl IntoIterator<Item = String>,
    ) -> Result<Window<'_>> {
        let window = self.chromium.open().await?;
        window.visit(&shop.door(user, tokens)).await?;
        Ok(window)
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

/// Nothing was kept from the page, or went wrong in it, but for what a scene is about.
async fn no_complaints(window: &Window<'_>) -> Result<()> {
    let complaints = window.complaints().await?;
    ensure!(complaints.is_empty(), "the browser complains: {complaints:?}");
    Ok(())
}

/// How the scenes went.
#[derive(Default)]
struct Played {
    failed: u32,
}

impl Played {
    /// Says how a scene went; 1 if well.
    fn scene(&mut self, stage: &Stage, what: &str, went: Result<()>) -> u32 {
        match went {
            Ok(()) => {
                stage.say(what);
                1
            }
            Err(error) => {
                stage.say(&format!("WRONG: {what}: {error:#}"));
                self.failed += 1;
                0
            }
        }
    }
}

async fn demo() -> Result<(String, bool)> {
    println!("installing the operator with Helm (some 10 s)");
    let stage = Stage::set().await?;
    let fair = stage.fair("browser", SHOP, json!({}), COUPONS, -1).await?;
    fair.sale.until_phase(Phase::Open, SOON).await?;
    stage.say(&format!("{} is open, and the page is at {}", fair.sale.name, fair.shop.origin));
    let mut played = Played::default();
    let same_after_reload = first_winner(&stage, &fair, &mut played).await?;
    played.scene(&stage, "a second user gets the next rank", wins(&stage, &fair, "bert", 2).await);
    let words = "the network is cut in the middle: asked again with the same key, the same rank";
    played.scene(&stage, words, cut(&stage, &fair, "cleo", 3, false).await);
    let words = "cut, and the page is loaded again before an answer came: it goes on by itself, the same rank";
    played.scene(&stage, words, cut(&stage, &fair, "dora", 4, true).await);
    let words = "a token that is over is replaced by the shop's next one, without a tap";
    played.scene(&stage, words, expired(&stage, &fair, "olga", 5).await);
    let words = "without a session, without a token and with one for another service: please log in";
    played.scene(&stage, words, refused(&stage, &fair).await);
    let refused_origin =
        played.scene(&stage, "a page of another origin is told why it may not", other_origin(&stage, &fair).await);
    played.scene(&stage, "all five are issued: sold out", sold_out(&stage, &fair).await);
    let later = waits(&stage, &mut played).await?;
    played.scene(&stage, "a sentence for every code, by a stand-in for issuers", every_code(&stage).await);

    let people = ["anna", "bert", "cleo", "dora", "olga"].map(str::to_owned);
    let expected: Vec<_> = (1..=COUPONS).zip(people).collect();
    let sold = stage.rows(&fair.sale, expected.len()).await?;
    let sold_later = stage.rows(&later.sale, 1).await?;
    let as_told = sold == expected && sold_later == [(1, "tess".to_owned())];
    let went = if as_told { Ok(()) } else { Err(anyhow::anyhow!("{sold:?}, {sold_later:?}")) };
    played.scene(&stage, "the rows are what people saw", went);
    let asked = fair.relay.wishes() + later.relay.wishes();
    for fair in [&fair, &later] {
        fair.sale.delete("background").await?;
    }
    let line = format!(
        "browser: asked={asked} issued={} same_after_reload={same_after_reload} refused_origin={refused_origin} failed={}",
        sold.len() + sold_later.len(),
        played.failed
    );
    Ok((line, played.failed == 0))
}

/// Somebody wins, loads the page again, and taps again; 1 if the rank is the same after a reload.
async fn first_winner(stage: &Stage, fair: &Fair, played: &mut Played) -> Result<u32> {
    let window = stage.visitor(&fair.shop, "anna").await?;
    let won = async {
        for (css, role, label) in [(BUTTON, "button", "I want one"), (TOLD, "status", "")] {
            let found = (window.read(css, "computedrole").await?, window.read(css, "computedlabel").await?);
            ensure!(found == (role.to_owned(), label.to_owned()), "a screen reader says {found:?} of {css}");
        }
        window.tap(BUTTON).await?;
        window.until_says(TOLD, "You have number 1.").await?;
        ensure!(fair.relay.preflights() > 0, "the browser asked without a preflight");
        no_complaints(&window).await
    };
    played.scene(stage, "a winner sees the rank; the preflight let the page ask", won.await);
    let again =
        async {
            let asked = fair.relay.wishes();
            window.reload().await?;
            window.until_says(TOLD, "You have number 1.").await?;
            ensure!(fair.relay.wishes() == asked, "a reload asked for another coupon");
            window.tap(BUTTON).await?;
            until("the tap", SOON, async || {
                if fair.relay.wishes() > asked { Ok(()) } else { Err("nothing was asked".to_owned()) }
            })
            .await?;
            window.until_says(TOLD, "You have number 1.").await?;
            no_complaints(&window).await
        };
    let same = played.scene(stage, "after a reload, and another tap, it is the same rank", again.await);
    window.close().await?;
    Ok(same)
}

/// Somebody taps and sees this rank.
async fn wins(stage: &Stage, fair: &Fair, user: &str, rank: u64) -> Result<()> {
    let window = stage.visitor(&fair.shop, user).await?;
    window.tap(BUTTON).await?;
    window.until_says(TOLD, &format!("You have number {rank}.")).await?;
    no_complaints(&window).await?;
    window.close().await
}

/// The network breaks between an issuer's answer and the page. Perhaps the user loads the page again before it is whole.
async fn cut(stage: &Stage, fair: &Fair, user: &str, rank: u64, reloads: bool) -> Result<()> {
    let window = stage.visitor(&fair.shop, user).await?;
    fair.relay.break_at_answer();
    window.tap(BUTTON).await?;
    window.until_says(TOLD, "No answer yet.").await?;
    ensure!(fair.relay.is_cut(), "the page gave up before an issuer had answered");
    let issuer = fair.sale.issuer().await?;
    let held = issuer.http().get(issuer.url(&format!("/users/{user}"))).bearer_auth(stage.provider.token(user));
    let held: Value = serde_json::from_str(&held.send().await?.text().await?)?;
    ensure!(held["coupons"][0]["rank"] == rank, "the lost answer was another: {held}");
    if reloads {
        window.reload().await?;
        window.until_says(TOLD, "No answer yet.").await?;
    }
    fair.relay.mend();
    window.until_says(TOLD, &format!("You have number {rank}.")).await?;
    window.close().await
}

/// The first token is over, and the shop has another.
async fn expired(stage: &Stage, fair: &Fair, user: &str, rank: u64) -> Result<()> {
    let mut claims = Provider::claims(user);
    claims["exp"] = json!(jiff::Timestamp::now().as_second() - 3_600);
    let tokens = [stage.provider.signer().sign(&claims), stage.provider.token(user)];
    let window = stage.visitor_with(&fair.shop, user, tokens).await?;
    window.tap(BUTTON).await?;
    window.until_says(TOLD, &format!("You have number {rank}.")).await?;
    window.close().await
}

/// Nobody has logged in; then somebody without a token, and somebody with a token for another service.
async fn refused(stage: &Stage, fair: &Fair) -> Result<()> {
    let nobody = stage.chromium.open().await?;
    nobody.visit(&fair.shop.origin).await?;
    nobody.until_says(TOLD, "Please log in.").await?;
    nobody.close().await?;
    let mut claims = Provider::claims("mallory");
    claims["aud"] = json!("another-service");
    let foreign = stage.provider.signer().sign(&claims);
    for (user, tokens, words) in
        [("norman", vec![], "Please log in."), ("mallory", vec![foreign], "Please log in again.")]
    {
        let window = stage.visitor_with(&fair.shop, user, tokens).await?;
        window.tap(BUTTON).await?;
        window.until_says(TOLD, words).await?;
        window.close().await?;
    }
    Ok(())
}

/// The same page at a port that the class does not name.
async fn other_origin(stage: &Stage, fair: &Fair) -> Result<()> {
    let shop = Shop::open(OTHER_SHOP, fair.relay.address, &fair.sale.name).await?;
    let window = stage.visitor(&shop, "vera").await?;
    window.until_says(TOLD, "may not read it").await?;
    let (asked, preflights) = (fair.relay.wishes(), fair.relay.preflights());
    window.tap(BUTTON).await?;
    until("the preflight of a tap", SOON, async || {
        if fair.relay.preflights() > preflights { Ok(()) } else { Err("none yet".to_owned()) }
    })
    .await?;
    let told = window.until_says(TOLD, "may not read it").await?;
    ensure!(told.contains(&shop.origin) && told.contains("routing.cors.allowedOrigins"), "it says `{told}`");
    ensure!(fair.relay.wishes() == asked, "the browser asked although it may not");
    let complaints = window.complaints().await?;
    ensure!(complaints.iter().any(|said| said.contains("blocked by CORS policy")), "the browser says {complaints:?}");
    window.close().await
}

async fn sold_out(stage: &Stage, fair: &Fair) -> Result<()> {
    let window = stage.visitor(&fair.shop, "emil").await?;
    window.until_says(TOLD, "Sold out.").await?;
    window.tap(BUTTON).await?;
    window.until_says(TOLD, "Sold out.").await?;
    no_complaints(&window).await?;
    window.close().await
}

/// A sale that opens later, whose class lets each user ask once in 2 s: somebody asks too often, sees a countdown, and wins without another tap.
async fn waits(stage: &Stage, played: &mut Played) -> Result<Fair> {
    let more = json!({
        "rateLimits": {"perUser": {"requests": 1, "perSeconds": 2, "burst": 1}},
        // Pods are there as long before as a countdown is to be seen.
        "warmUpSeconds": 60,
    });
    let fair = stage.fair("browser-later", LATER_SHOP, more, LATER_COUPONS, OPENS_IN).await?;
    stage.say(&format!("{} opens at {}", fair.sale.name, fair.sale.manifest["spec"]["window"]["start"]));
    // Looking up one's own coupons, which the page does when it is loaded, is the one request.
    let window = stage.visitor(&fair.shop, "tess").await?;
    let limited = async {
        window.until_says(TOLD, "It has not started yet. Tap,").await?;
        window.tap(BUTTON).await?;
        window.until_says(TOLD, "That was too often.").await.map(drop)
    };
    played.scene(stage, "who asks too often is told when the page asks again", limited.await);
    let counted = async {
        window.until_says(TOLD, "It has not started yet. This page asks for you").await?;
        let first = window.read(COUNTDOWN, "text").await?;
        let goes_on = async || match window.read(COUNTDOWN, "text").await {
            Ok(now) if now.starts_with("00:00:") && now < first => Ok(()),
            other => Err(format!("{first}, and then {other:?}")),
        };
        until("the countdown", SOON, goes_on).await?;
        let asked = fair.relay.wishes();
        window.until_says(TOLD, "You have number 1.").await?;
        let opened: jiff::Timestamp =
            fair.sale.manifest["spec"]["window"]["start"].as_str().unwrap_or_default().parse()?;
        ensure!(jiff::Timestamp::now() >= opened, "it was sold before {opened}, at {}", from_now(0));
        // Asked once for the countdown, and about once at the opening.
        ensure!(
            fair.relay.wishes() - asked <= 2,
            "the page asked {} times at the opening",
            fair.relay.wishes() - asked
        );
        no_complaints(&window).await
    };
    played.scene(stage, "a countdown, and a coupon at the opening", counted.await);
    window.close().await?;
    Ok(fair)
}

/// What the page says of every code.
async fn every_code(stage: &Stage) -> Result<()> {
    let stand_in = StandIn::start().await?;
    let shop = Shop::open(STAND_IN_SHOP, stand_in.address, "first-hundred").await?;
    let window = stage.chromium.open().await?;
    for (number, (status, code, words)) in SENTENCES.into_iter().enumerate() {
        stand_in.says(status, code);
        // Somebody else each time: a wish that is not decided would go on.
        window.visit(&shop.door(&format!("user-{number}"), ["a-token".to_owned()])).await?;
        window.tap(BUTTON).await?;
        window.until_says(TOLD, words).await.with_context(|| format!("{status} {code}"))?;
    }
    no_complaints(&window).await?;
    window.close().await
}
