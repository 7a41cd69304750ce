//! Pods in trouble: Kafka is cut off from the operator while much waits, Redis is slow while many come. Alone in a binary: the
//! proxies before Kafka have fixed addresses.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::chaos::fault::{Link, Role, Service, Trouble};
use e2e::chaos::test_bed::TestBed;
use e2e::install;
use e2e::issuer_client::IssuerClient;
use e2e::scaling::watch::{Stream, Watch};
use e2e::wait::until;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use operator::reconcile::PAUSE_ANNOTATION;
use serde_json::json;
use stack::Connections;
use tokio::sync::Mutex;
use tokio::time::sleep;

const COUPONS: u64 = 6_000;
const SOON: Duration = Duration::from_secs(90);
/// The shortest `Retry-After`.
const REFUSED: Duration = Duration::from_secs(1);
/// How long answers are counted.
const MEASURED: Duration = Duration::from_secs(4);

/// The addresses of Kafka's proxies are fixed.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn a_lag_that_cannot_be_read_holds_the_pods() {
    let _alone = ALONE.lock().await;
    let bed = bed("scaling-blind").await;
    let open = bed
        .open_as("blind", COUPONS, 1, |spec| {
            spec["window"]["start"] = json!(e2e::campaign::from_now(-120));
            spec["partitions"] = json!(4);
            spec["consumer"] = json!({"drainTargetSeconds": 5});
        })
        .await
        .unwrap();
    let operator = bed.injector(&open).addresses(Role::Operator).await.unwrap();
    let slow = bed.links.slow(Service::Database, Duration::from_millis(500), operator.clone());
    let stream = Stream::default();
    let kafka = &bed.sources.kafka;
    let mut watch = Watch::new(bed.kubernetes.clone(), kafka, &open.campaign, "blind", &stream).unwrap();
    let issuer = open.issuer(Duration::from_secs(15)).unwrap();
    let watching = async {
        assert!(watch.until(SOON, |seen| seen.wanted > 1 && seen.lag > 500).await.unwrap(), "{:?}", watch.samples);
        let link = Link::Inner(Role::Operator, Service::Kafka);
        let cut = bed.links.begin(link, Trouble::Cut, &open.users, operator);
        let before = watch.sample().await.unwrap().wanted;
        open.sale.until_condition("ScalingActive", "False", "LagUnknown").await.unwrap();
        let moved = watch.until(Duration::from_secs(8), |seen| seen.wanted != before).await.unwrap();
        assert!(!moved, "scaled in the dark: {:?}", watch.samples.last());
        cut.end();
        slow.end();
        open.sale
            .until("ScalingActive", SOON, |found| {
                let conditions = found.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
                operator::api::conditions::is_true(conditions, operator::api::ConditionType::ScalingActive)
            })
            .await
            .unwrap();
        assert!(watch.until(SOON, |seen| seen.lag == 0 && seen.issued == COUPONS).await.unwrap());
        let over = watch.until(SOON, |seen| seen.wanted == 0).await.unwrap();
        assert!(over, "sold out and stored: {:?}", watch.samples.last());
    };
    tokio::join!(stream.run(&issuer, COUPONS, 600), watching);
    assert_eq!(bed.sources.rows(&open.campaign).await.unwrap().len() as u64, COUPONS);
    bed.close(open).await.unwrap();
    bed.leave().await.unwrap();
}

/// People who come one after the other, each place in the queue taken again at once; that of who was refused after the shortest time that issuers say.
#[derive(Default)]
struct Press {
    over: AtomicBool,
    come: AtomicU64,
    issued: AtomicU64,
}

impl Press {
    async fn run(&self, issuer: &IssuerClient, together: usize) {
        let place = async || {
            while !self.over.load(Ordering::Relaxed) {
                let number = self.come.fetch_add(1, Ordering::Relaxed);
                let heard = issuer.ask(&format!("person-{number}"), None).await;
                assert!(heard.issued() || heard.status == 503, "{heard:?}");
                self.issued.fetch_add(u64::from(heard.issued()), Ordering::Relaxed);
                if !heard.issued() {
                    sleep(REFUSED).await;
                }
            }
        };
        join_all((0..together).map(|_| place())).await;
    }

    /// Coupons per second, over some seconds.
    async fn rate(&self) -> f64 {
        let (begin, before) = (Instant::now(), self.issued.load(Ordering::Relaxed));
        sleep(MEASURED).await;
        (self.issued.load(Ordering::Relaxed) - before) as f64 / begin.elapsed().as_secs_f64()
    }
}

/// One issuer makes one call to Redis at a time, so with a slow Redis another issuer gives as many again.
#[tokio::test]
async fn issuers_that_let_people_wait_become_more_and_the_new_ones_are_found() {
    let _alone = ALONE.lock().await;
    let bed = bed("scaling-pressed").await;
    let open = bed
        .open_as("pressed", 200_000, 1, |spec| {
            spec["window"]["start"] = json!(e2e::campaign::from_now(-120));
            spec["partitions"] = json!(2);
            spec["issuer"] = json!({"minReplicas": 1, "maxReplicas": 2});
        })
        .await
        .unwrap();
    let operator = bed.injector(&open).addresses(Role::Operator).await.unwrap();
    let slow = bed.links.slow(Service::Redis, Duration::from_millis(150), operator);
    let deployments: Api<Deployment> = Api::namespaced(bed.kubernetes.clone(), &bed.namespace);
    let issuers = async || {
        let found = deployments.get("pressed-issuer").await.unwrap();
        (found.spec.unwrap().replicas, found.status.unwrap().ready_replicas)
    };
    // So that what one answers can be measured before the other comes.
    let annotate = async |annotation: &str| {
        let campaign = ["annotate", "couponcampaign/pressed", "-n", &bed.namespace];
        install::kubectl(&[&campaign[..], &[annotation]].concat()).await.unwrap()
    };
    annotate(&format!("{PAUSE_ANNOTATION}=out")).await;
    let issuer = open.issuer(Duration::from_secs(15)).unwrap();
    let press = Press::default();
    let watching = async {
        assert_eq!(issuers().await, (Some(1), Some(1)));
        until("people hear of coupons", SOON, async || match press.issued.load(Ordering::Relaxed) {
            1_000.. => Ok(()),
            issued => Err(format!("{issued} are issued")),
        })
        .await
        .unwrap();
        let alone = press.rate().await;
        assert_eq!(issuers().await, (Some(1), Some(1)), "held, whatever the pressure");
        annotate(&format!("{PAUSE_ANNOTATION}-")).await;
        let begin = Instant::now();
        let more = until("a second issuer", SOON, async || match issuers().await {
            (Some(2), Some(2)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        more.await.unwrap();
        println!("two issuers are ready after {:.1} s", begin.elapsed().as_secs_f64());
        let rates = async || match press.rate().await {
            both if both > alone * 1.4 => Ok(both),
            both => Err(format!("{both:.0} coupons a second after {alone:.0}")),
        };
        let both = until("more coupons a second", SOON, rates).await.unwrap();
        println!("{both:.0} coupons a second after {alone:.0}");
        press.over.store(true, Ordering::Relaxed);
    };
    tokio::join!(press.run(&issuer, 1_000), watching);
    slow.end();
    let scaled = ["get", "events", "-n", &bed.namespace, "--field-selector", "reason=Scaled", "-o"];
    let notes = "jsonpath={range .items[*]}{.note}{.message}{\"\\n\"}{end}";
    let said = install::kubectl(&[&scaled[..], &[notes]].concat()).await.unwrap();
    // Whether it is for as many as the work needs, or more would be: who is refused and comes again counts as one who comes.
    assert!(said.contains("issuer 1 -> 2: "), "{said}");
    bed.close(open).await.unwrap();
    bed.leave().await.unwrap();
}

async fn bed(what: &str) -> TestBed {
    let connections = Connections::from_env().unwrap();
    install::install(&connections).await.unwrap();
    TestBed::new(connections, what, true).await.unwrap()
}
