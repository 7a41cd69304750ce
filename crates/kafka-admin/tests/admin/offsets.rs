//! Offsets of partitions, and what groups have committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coupon_kafka_admin::{AdminError, Deletion, GroupState};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::fixture::{PATIENCE, admin, config, new_topic, produce, unique};

#[tokio::test]
async fn offsets_follow_what_is_written_and_purged() {
    let admin = admin();
    let (one, two) = (new_topic(&admin, "offsets", 2, &[]).await, new_topic(&admin, "offsets", 1, &[]).await);
    produce(&one, 0, 5).await;
    produce(&two, 0, 2).await;
    let all = [(one.clone(), 0), (one.clone(), 1), (two.clone(), 0)];
    let offsets = |found: [i64; 3]| -> BTreeMap<_, _> { all.iter().cloned().zip(found.map(Ok)).collect() };
    assert_eq!(admin.end_offsets(&all).await.unwrap(), offsets([5, 0, 2]));
    assert_eq!(admin.start_offsets(&all).await.unwrap(), offsets([0, 0, 0]));

    let purge: AdminClient<DefaultClientContext> = config().create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&one, 0, Offset::Offset(3)).unwrap();
    let purged = purge.delete_records(&before, &AdminOptions::new()).await.unwrap();
    purged.elements()[0].error().unwrap();
    assert_eq!(admin.start_offsets(&all).await.unwrap(), offsets([3, 0, 0]));
    assert_eq!(admin.end_offsets(&all).await.unwrap(), offsets([5, 0, 2]));
    admin.delete_topic(&one).await.unwrap();
    admin.delete_topic(&two).await.unwrap();
}

/// More partitions than one request takes: the answer must be whole.
#[tokio::test]
async fn offsets_of_many_partitions_are_asked_for_in_several_requests() {
    let admin = admin();
    let name = new_topic(&admin, "many", 3, &[]).await;
    produce(&name, 1, 1).await;
    let wanted: Vec<_> = (0..1200).map(|partition| (name.as_str(), partition)).collect();
    let ends = admin.end_offsets(&wanted).await.unwrap();
    assert_eq!(ends.len(), 1200);
    assert_eq!((0..3).map(|id| ends[&(name.clone(), id)].clone().unwrap()).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(ends.values().filter(|end| end.is_err()).count(), 1197);
    admin.delete_topic(&name).await.unwrap();
}

#[tokio::test]
async fn committed_offsets_are_read_and_written_without_joining() {
    let admin = admin();
    let (name, group) = (new_topic(&admin, "commits", 3, &[]).await, unique("group"));
    produce(&name, 0, 4).await;
    let nothing: BTreeMap<_, _> = (0..3).map(|partition| (partition, None)).collect();
    assert_eq!(admin.committed_offsets(&group, &name, 3).await.unwrap(), nothing);
    assert_eq!(admin.describe_groups(&[&group]).await.unwrap()[&group].as_ref().unwrap().state, GroupState::Absent);

    admin.commit_offsets(&group, &name, &BTreeMap::from([(0, 4), (2, 0)])).await.unwrap();
    let committed = admin.committed_offsets(&group, &name, 3).await.unwrap();
    assert_eq!(committed, BTreeMap::from([(0, Some(4)), (1, None), (2, Some(0))]), "zero is not the same as nothing");
    let described = admin.describe_groups(&[&group]).await.unwrap().remove(&group).unwrap().unwrap();
    assert_eq!((described.state, described.members.len()), (GroupState::Empty, 0));

    assert_eq!(admin.delete_group(&group).await, Ok(Deletion::Deleted));
    assert_eq!(admin.delete_group(&group).await, Ok(Deletion::Absent));
    assert_eq!(admin.committed_offsets(&group, &name, 3).await.unwrap(), nothing);

    let missing = unique("missing");
    let error = admin.commit_offsets(&group, &missing, &BTreeMap::from([(0, 1)])).await.unwrap_err();
    assert_eq!(error, AdminError::UnknownTopic { topic: missing });
    admin.delete_topic(&name).await.unwrap();
}

#[tokio::test]
async fn a_group_with_members_is_described_and_left_alone() {
    let admin = admin();
    let (name, group) = (new_topic(&admin, "members", 2, &[]).await, unique("group"));
    let idle = unique("idle");
    let consumer: BaseConsumer = config()
        .set("group.id", &group)
        .set("client.id", "tester")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[&name]).unwrap();
    let start = Instant::now();
    let described = loop {
        if let Some(event) = consumer.poll(Duration::from_millis(50)) {
            event.unwrap();
        }
        let mut groups = admin.describe_groups(&[&group, &idle]).await.unwrap();
        assert_eq!(groups[&idle].as_ref().unwrap().state, GroupState::Absent);
        let described = groups.remove(&group).unwrap().unwrap();
        if described.state == GroupState::Stable && !described.members[0].assignment.is_empty() {
            break described;
        }
        assert!(start.elapsed() < PATIENCE, "the group did not settle: {described:?}");
    };
    assert_eq!(described.members.len(), 1);
    let member = &described.members[0];
    assert_eq!((member.client_id.as_str(), member.instance_id.as_deref()), ("tester", None));
    assert!(!member.member_id.is_empty() && !member.host.is_empty());
    let mut assignment = member.assignment.clone();
    assignment.sort();
    assert_eq!(assignment, [(name.clone(), 0), (name.clone(), 1)]);

    for error in [
        admin.commit_offsets(&group, &name, &BTreeMap::from([(0, 1)])).await.unwrap_err(),
        admin.delete_group(&group).await.unwrap_err(),
    ] {
        assert!(matches!(error, AdminError::GroupActive { .. }) && error.to_string().contains(&group), "{error:?}");
    }
    let committed = admin.committed_offsets(&group, &name, 2).await.unwrap();
    assert_eq!(committed, BTreeMap::from([(0, None), (1, None)]), "nothing was changed under its feet");

    // The consumer goes before the topic: see `delete_topic`.
    consumer.unsubscribe();
    drop(consumer);
    let state = async || admin.describe_groups(&[&group]).await.unwrap()[&group].as_ref().unwrap().state;
    let start = Instant::now();
    while !matches!(state().await, GroupState::Empty | GroupState::Absent) {
        assert!(start.elapsed() < PATIENCE, "the member did not leave");
    }
    admin.delete_group(&group).await.unwrap();
    admin.delete_topic(&name).await.unwrap();
}

/// One client serves all campaigns of a class at once.
#[tokio::test]
async fn many_calls_share_one_client() {
    let admin = admin();
    let name = new_topic(&admin, "shared", 2, &[]).await;
    let groups: Vec<_> = (0..40).map(|_| unique("group")).collect();
    let calls = groups.iter().map(|group| {
        let (admin, name) = (admin.clone(), name.clone());
        async move {
            admin.commit_offsets(group, &name, &BTreeMap::from([(1, 7)])).await?;
            admin.committed_offsets(group, &name, 2).await
        }
    });
    for committed in futures::future::join_all(calls).await {
        assert_eq!(committed.unwrap(), BTreeMap::from([(0, None), (1, Some(7))]));
    }
    let described = admin.describe_groups(&groups).await.unwrap();
    assert!(described.values().all(|group| group.as_ref().unwrap().state == GroupState::Empty), "{described:?}");
    for group in &groups {
        admin.delete_group(group).await.unwrap();
    }
    admin.delete_topic(&name).await.unwrap();
}
