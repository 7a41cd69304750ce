//! What a scrape of the operator says.

use std::time::Instant;

use coupon_runtime::http::Stats;
use coupon_runtime::telemetry;
use jiff::Timestamp;
use kube::ResourceExt;

use super::campaign_facts::{CampaignFacts, LogFacts, RetentionFacts};
use super::*;
use crate::api::conditions::{self, Report};
use crate::api::{ConditionType, CouponCampaign, CouponCampaignStatus, Phase, WorkloadStatus};
use crate::fixtures::{self, START};
use crate::kafka::view::KafkaView;
use crate::reconcile::scene::Scene;
use crate::scaling::reading::Membership;

/// The status of a campaign that sells.
fn selling() -> CouponCampaignStatus {
    let pods = || Some(WorkloadStatus { wanted: 2, ready: 2, ..WorkloadStatus::default() });
    let mut status = CouponCampaignStatus {
        phase: Some(Phase::Open),
        class_name: Some("default".to_owned()),
        terms: Some(fixtures::terms_status(false)),
        issuer: pods(),
        consumer: pods(),
        ..CouponCampaignStatus::default()
    };
    use ConditionType as C;
    let all = [
        C::Ready,
        C::Open,
        C::ClassResolved,
        C::TopicReady,
        C::RedisKeysReady,
        C::WorkloadsReady,
        C::PodsUpToDate,
        C::DatabaseReady,
        C::KafkaReady,
        C::RedisReady,
        C::CredentialsReady,
        C::ScalingActive,
        C::LedgerConsistent,
    ];
    let reports: Vec<Report> = all.into_iter().map(|each| Report::yes(each, "AllChecksPassed", "")).collect();
    conditions::merge(&mut status.conditions, &reports, 1, Timestamp::UNIX_EPOCH);
    status
}

fn kafka(partitions: i32) -> KafkaView {
    let mut kafka = Scene::open().lag(30).kafka().clone();
    kafka.group = Some(Membership { stable: true, holders: 2 });
    let offsets = kafka.offsets.as_mut().unwrap();
    offsets.starts = (0..partitions).map(|id| (id, 100_000)).collect();
    offsets.ends = (0..partitions).map(|id| (id, 200_000)).collect();
    offsets.committed = (0..partitions).map(|id| (id, Some(199_999))).collect();
    kafka
}

/// What a pass over a campaign with or without pods tells.
fn tell(metrics: &Metrics, campaign: &CouponCampaign, kafka: &KafkaView, has_pods: bool) -> CampaignLabels {
    let labels = CampaignLabels::of(campaign);
    metrics.observe(&labels, Some(1), Some(1), Some(1), Some(0));
    metrics.unconfirmed(&labels, Some(1), Some(1));
    metrics.redis_bytes(&labels, Some(1));
    metrics.epochs_opened.get_or_create(&labels).inc();
    metrics.campaigns.describe(&labels, CampaignFacts::of(campaign, &selling()));
    let log = LogFacts::of(&fixtures::id(), kafka, has_pods);
    let start = Timestamp::from_millisecond(START).unwrap();
    metrics.campaigns.log(&labels, log, Some(RetentionFacts::of(kafka, START + 1, start)));
    metrics.campaigns.passed(&labels, 1_796_119_200);
    labels
}

fn operator() -> (Metrics, SharedRegistry) {
    let registry = telemetry::registry("coupon");
    let metrics = Metrics::new(&registry);
    (metrics, registry)
}

/// Wrong: people write queries and alerts by a document that speaks of other series.
#[test]
fn the_reference_says_what_an_operator_counts() {
    let (metrics, registry) = operator();
    tell(&metrics, &fixtures::campaign(), &kafka(1), true);
    metrics.reconciliations.get_or_create(&OutcomeLabels { outcome: "success".to_owned() }).inc();
    metrics.kafka_requests.get_or_create(&ClassLabels { class: "default".to_owned() }).set(1);
    metrics.unreadable.get_or_create(&KindLabels { kind: "Pod".to_owned() }).set(1);
    let _ports: [Stats; 1] = Stats::register(&registry, ["probes"]);
    let scrape = telemetry::scrape(&registry).unwrap();
    assert_eq!(coupon_testing::metrics_reference::differences("Operator", &scrape), Vec::<String>::new());
}

#[test]
fn a_scrape_says_what_the_last_pass_saw() {
    let (metrics, registry) = operator();
    let mut campaign = fixtures::campaign();
    campaign.labels_mut().insert(campaign_facts::TEAM_LABEL.to_owned(), "checkout".to_owned());
    let labels = tell(&metrics, &campaign, &kafka(1), true);
    let own = "namespace=\"shop\",campaign=\"spring\"";
    let topic = "topic=\"prod.shop.spring.coupon-events\",partition=\"0\"";
    let group = "consumergroup=\"prod.shop.spring.coupon-consumer\"";
    let scrape = telemetry::scrape(&registry).unwrap();
    for line in [
        format!("coupon_campaign_info{{{own},class=\"default\",team=\"checkout\",phase=\"Open\"}} 1"),
        format!("coupon_campaign_condition{{{own},type=\"Ready\",reason=\"AllChecksPassed\"}} 1"),
        format!("coupon_campaign_window_start_timestamp_seconds{{{own}}} {}", START / 1000),
        format!("coupon_campaign_replicas_wanted{{{own},component=\"issuer\"}} 2"),
        format!("coupon_campaign_last_good_pass_timestamp_seconds{{{own}}} 1796119200"),
        format!("coupon_campaign_retention_margin_seconds{{{own}}} 604799"),
        format!("coupon_campaign_republished_total{{{own}}} 0"),
        format!("coupon_consumergroup_lag{{{own},{group},{topic}}} 1"),
        format!("coupon_consumergroup_current_offset{{{own},{group},{topic}}} 199999"),
        format!("coupon_topic_partition_current_offset{{{own},{topic}}} 200000"),
        format!("coupon_topic_partition_oldest_offset{{{own},{topic}}} 100000"),
    ] {
        assert!(scrape.lines().any(|each| each == line), "{line} is not in\n{scrape}");
    }
    // A later pass: over, and without pods.
    let over = CouponCampaignStatus { phase: Some(Phase::Completed), ..selling() };
    metrics.campaigns.describe(&labels, CampaignFacts::of(&campaign, &over));
    metrics.campaigns.log(&labels, None, None);
    let scrape = telemetry::scrape(&registry).unwrap();
    assert!(scrape.contains("phase=\"Completed\"") && !scrape.contains("phase=\"Open\""), "{scrape}");
    assert!(!scrape.contains("partition=") && !scrape.contains("consumergroup="), "{scrape}");
}

/// Wrong: an alert rings for a campaign that was deleted, until the operator is restarted.
#[test]
fn a_campaign_that_is_gone_leaves_no_series() {
    let (metrics, registry) = operator();
    let campaign = fixtures::campaign();
    let labels = CampaignLabels::of(&campaign);
    let told = || telemetry::scrape(&registry).unwrap().matches("campaign=\"spring\"").count();
    let ways: [(&str, &dyn Fn()); 2] =
        [("by its finalizer", &|| metrics.forget(&labels)), ("without", &|| metrics.keep_only(&BTreeSet::new()))];
    for (how, goes) in ways {
        tell(&metrics, &campaign, &kafka(3), true);
        metrics.keep_only(&[labels.clone()].into());
        assert!(told() > 30, "{how}: it has series while it is there");
        goes();
        // Its last pass ends now.
        metrics.campaigns.passed(&labels, 1);
        assert_eq!(told(), 0, "{how}");
    }
}

/// Wrong: with many campaigns Prometheus gives up on the operator, and nobody hears of any sale.
#[test]
fn a_thousand_campaigns_are_a_scrape_of_less_than_five_megabytes() {
    let (metrics, registry) = operator();
    let log = kafka(12);
    for number in 0..1000 {
        let mut campaign = fixtures::campaign();
        campaign.metadata.name = Some(format!("spring-sale-{number:04}"));
        campaign.metadata.namespace = Some(format!("team-{:03}", number % 100));
        campaign.labels_mut().insert(campaign_facts::TEAM_LABEL.to_owned(), "checkout".to_owned());
        // As many as ever sell at the same time.
        tell(&metrics, &campaign, &log, number % 10 == 0);
    }
    let begun = Instant::now();
    let scrape = telemetry::scrape(&registry).unwrap();
    let (took, series) = (begun.elapsed(), scrape.lines().filter(|line| !line.starts_with('#')).count());
    println!("1000 campaigns, 100 of them with pods: {series} series, {} bytes, {took:?}", scrape.len());
    assert!(scrape.len() < 5_000_000, "{} bytes", scrape.len());
}
