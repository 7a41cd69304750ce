use super::*;
use coupon_core::identity::{RequestKey, UserId};

fn request(user: &str) -> IssueRequest {
    IssueRequest { user: UserId::new(user).unwrap(), key: RequestKey::new("k").unwrap(), minted: false }
}

fn metrics() -> Metrics {
    Metrics::register(&coupon_runtime::telemetry::registry("test"))
}

/// Wrong: a batch that nobody waits for waits, or one waits for a Kafka that says nothing; or a full one waits at all.
#[tokio::test(start_paused = true)]
async fn a_batch_gathers_on_only_while_kafka_is_behind_and_not_for_long() {
    let (sender, mut pending) = mpsc::channel(2 * MAX_BATCH);
    let entry = || PendingRequest { request: request("anna"), since: Instant::now(), reply: oneshot::channel().0 };
    let turns = Arc::new(Semaphore::new(TURNS));
    let begun = Instant::now();
    let (mut one, mut two, mut three) = (vec![entry()], vec![entry()], vec![entry()]);
    let first = fill_batch(&mut pending, &turns, &mut one).await;
    let second = fill_batch(&mut pending, &turns, &mut two).await;
    assert!(first.is_some() && second.is_some() && begun.elapsed().is_zero(), "there are turns");

    sender.try_send(entry()).unwrap_or_else(|_| panic!("there is room"));
    let third = fill_batch(&mut pending, &turns, &mut three).await;
    assert_eq!((third.is_some(), three.len(), begun.elapsed()), (false, 2, GATHER), "Kafka says nothing");

    let mut full: Vec<PendingRequest> = (0..MAX_BATCH).map(|_| entry()).collect();
    assert!(fill_batch(&mut pending, &turns, &mut full).await.is_none());
    assert_eq!(begun.elapsed(), GATHER, "a full one leaves at once");

    let mut fourth = vec![entry()];
    let (turn, ()) = tokio::join!(fill_batch(&mut pending, &turns, &mut fourth), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        drop(first);
    });
    assert!(turn.is_some() && begun.elapsed() < 2 * GATHER, "Kafka has acknowledged one");
}

#[tokio::test]
async fn who_left_is_dropped_and_who_waited_too_long_is_told() {
    let now = Instant::now() + Duration::from_secs(10);
    let entry = |user: &str, waited: Duration| {
        let (reply, answer) = oneshot::channel();
        (PendingRequest { request: request(user), since: now - waited, reply }, answer)
    };
    let (fresh, _fresh_answer) = entry("fresh", Duration::from_secs(1));
    let (late, mut late_answer) = entry("late", Duration::from_secs(3));
    let (gone, gone_answer) = entry("gone", Duration::from_secs(1));
    drop(gone_answer);
    let of = |entry: PendingRequest| delayed(&[entry], now);
    assert_eq!([of(entry("a", DELAYED).0), of(entry("b", DELAYED * 2).0)], [0, 1]);
    let kept = screen(vec![late, gone, fresh], now, &metrics());
    assert_eq!(kept.iter().map(|entry| entry.request.user.as_str()).collect::<Vec<_>>(), ["fresh"]);
    assert_eq!(late_answer.try_recv().unwrap(), RequestOutcome::Overloaded);
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let (sender, pending) = mpsc::channel(2);
    let (pace, behind, user_limit, redis_health) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
    let sending_away = Arc::new(SendingAway::new(Instant::now()));
    let queue = Queue { sender, pace, behind, sending_away, user_limit, redis_health, metrics: metrics() };
    let _answers = [queue.admit(request("a")).unwrap(), queue.admit(request("b")).unwrap()];
    assert_eq!(queue.admit(request("c")).unwrap_err(), RequestOutcome::Overloaded);
    assert_eq!((queue.depth(), queue.capacity(), queue.metrics.rejected.get()), (2, 2, 1));
    drop(pending);
    assert_eq!(
        queue.admit(request("d")).unwrap_err(),
        RequestOutcome::Overloaded,
        "a process that ends takes nothing new"
    );
}
