//! What holds for every plan, whatever was read.

use coupon_kafka_admin::TopicState;
use coupon_ledger::database::CampaignRow;
use coupon_ledger::redis::{OpenInRedis, RedisState};
use proptest::prelude::*;

use super::*;
use crate::api::Phase;
use crate::fixtures::{END, HOUR, LEAD, START};
use crate::kafka::view::KafkaView;
use crate::reconcile::observe::LedgerView;
use crate::reconcile::scene::{Scene, terms, topic};

prop_compose! {
    fn any_ledger()(
        registered in any::<bool>(), total in 1..200u64, epoch in 0..3u64, open in any::<bool>(),
        topic_id in prop_oneof![Just(None), Just(Some("")), Just(Some("t1")), Just(Some("t2"))],
        opened in any::<bool>(), stored in 0..200u64, gap in 0..3u64,
    ) -> LedgerView {
        let mut scene = Scene::registered();
        *scene.row() = CampaignRow {
            total, epoch, open_epoch: open.then_some(epoch), topic_id: topic_id.map(str::to_owned),
            opened_start_ms: opened.then_some(START - HOUR), opened_end_ms: opened.then_some(END),
            ..scene.row().clone()
        };
        let row = scene.row().clone();
        let row = registered.then_some(row);
        LedgerView { row, stored, highest: stored + gap, had: stored, ..LedgerView::unregistered() }
    }
}

prop_compose! {
    fn any_stock()(
        now_ms in LEAD - HOUR..END + HOUR, same_history in any::<bool>(), issued in 0..200u64,
        open in any::<bool>(), epoch in 0..3u64, total in 1..200u64, gap in 0..3u64, suspended in any::<bool>(),
    ) -> RedisState {
        let history = if same_history { "h1" } else { "h2" }.to_owned();
        let in_force = Terms { total, suspended, ..terms() };
        let meta = OpenInRedis { epoch, history: "h1".to_owned(), terms: in_force, number: 1, highest: issued + gap, misfit: None };
        RedisState { clock_ms: now_ms, now_ms, history, issued, open: open.then_some(meta) }
    }
}

prop_compose! {
    fn any_log()(
        there in any::<bool>(), id in prop_oneof![Just("t1"), Just("t2")], partitions in 1..5i32,
        cluster in prop_oneof![Just("c1"), Just("c2")], used in any::<bool>(),
        lag in proptest::option::of(0..50u64), dead_letters in proptest::option::of(0..5u64),
    ) -> KafkaView {
        let mut kafka = Scene::with_topics().kafka.unwrap();
        kafka.topic.events = if there { topic(id, partitions) } else { TopicState::Absent };
        kafka.topic.used = there.then_some(used);
        cluster.clone_into(&mut kafka.topic.cluster_id);
        KafkaView { lag, dead_letters, dead_ranks: dead_letters, stranded: dead_letters, ..kafka }
    }
}

prop_compose! {
    fn any_scene()(
        ledger in proptest::option::weighted(0.9, any_ledger()),
        redis in proptest::option::weighted(0.9, any_stock()),
        kafka in proptest::option::weighted(0.9, any_log()),
        clock_ms in LEAD - HOUR..END + HOUR, total in 1..200i64, suspend in any::<bool>(), partitions in 1..5u16,
        consumers in 1..5u16, fewest in 0..5u16,
        phase in proptest::sample::select(vec![
            Phase::Pending, Phase::Scheduled, Phase::Open, Phase::SoldOut, Phase::Suspended, Phase::Repairing,
            Phase::Draining, Phase::Completed,
        ]),
    ) -> Scene {
        let base = Scene { ledger, redis, kafka, clock_ms, ..Scene::prepared() };
        base.was(phase).quantity(total).with(|s| {
            let spec = &mut s.campaign.spec;
            (spec.suspend, spec.partitions) = (suspend, partitions);
            // As the API server takes them.
            let most = consumers.min(partitions);
            (spec.consumer.max_replicas, spec.consumer.min_replicas) = (Some(most), fewest.min(most));
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_no_plan_can_do_harm(scene in any_scene()) {
        let plan = scene.plan();
        let row = scene.ledger.as_ref().and_then(|ledger| ledger.row.as_ref());

        if plan.steps.iter().any(|step| matches!(step, Step::OpenEpoch { .. })) {
            prop_assert!(scene.ledger.is_some() && scene.redis.is_some() && scene.kafka.is_some(), "opened in the dark");
            prop_assert_eq!(plan.steps.len(), 1, "an epoch is opened on its own");
        }
        if scene.ledger.is_none() {
            prop_assert!(plan.steps.is_empty(), "without the database nothing can be put on record");
        }

        prop_assert!(plan.next_ms.is_none_or(|next| next > plan.now_ms), "or the pass would spin");

        if let Some(row) = row {
            let in_redis = scene.redis.as_ref().and_then(|redis| redis.open.as_ref());
            // Nobody was given a rank above every total that there was: such a row is somebody else's.
            let most = terms::highest_total(&terms::asked(&scene.campaign), row, in_redis.map(|open| open.terms));
            let of_rows = scene.ledger.as_ref().map(|ledger| ledger.highest).filter(|highest| *highest <= most);
            let highest = in_redis.map_or(0, |open| open.highest).max(of_rows.unwrap_or(0));
            prop_assert!(plan.terms.total >= highest, "a rank that was given must stay storable");
        }
        for (index, step) in plan.steps.iter().enumerate() {
            let (Step::SetTotal(total), Some(row), Some(_)) = (step, row, &scene.redis) else { continue };
            prop_assert!(*total <= row.total.max(terms::asked(&scene.campaign).total), "the last wall follows what Redis says");
            if *total > row.total {
                let earlier = &plan.steps[..index];
                prop_assert!(!earlier.iter().any(|step| matches!(step, Step::Configure(_))), "raised in Redis first");
            } else {
                let before = plan.steps[..index].iter().any(|step| matches!(step, Step::Configure(t) if t.total == *total));
                prop_assert!(before, "lowered in the database first, or only there");
            }
        }
    }
}
