//! Collects requests that reconciliations make at about the same time, so that Kafka is asked once for all of them.
//!
//! One round runs at a time: requests that arrive meanwhile form the next one.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How long others may join a round.
const LINGER: Duration = Duration::from_millis(20);
/// Requests in one round.
const MOST: usize = 200;
/// Requests that may wait; further callers wait for room.
const QUEUE: usize = 1_024;

struct Query<K, T> {
    wanted: K,
    answer: oneshot::Sender<T>,
}

/// Answers requests, many at once. Its task ends when this is dropped.
pub(crate) struct Coalescer<K, T> {
    requests: mpsc::Sender<Query<K, T>>,
    task: JoinHandle<()>,
}

impl<K, T> Drop for Coalescer<K, T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K: Send + 'static, T: Send + 'static> Coalescer<K, T> {
    /// Starts the task. `answer_all` answers each request, in their order. Call it within a runtime.
    pub(crate) fn start<F>(answer_all: impl Fn(Vec<K>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Vec<T>> + Send + 'static,
    {
        let (requests, waiting) = mpsc::channel(QUEUE);
        Self { requests, task: tokio::spawn(serve(waiting, answer_all)) }
    }

    /// The answer to a request. `None`: there will be none, since the task has ended.
    pub(crate) async fn request(&self, wanted: K) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Query { wanted, answer }).await.ok()?;
        answered.await.ok()
    }
}

async fn serve<K, T, F>(mut waiting: mpsc::Receiver<Query<K, T>>, answer_all: impl Fn(Vec<K>) -> F)
where
    F: Future<Output = Vec<T>>,
{
    let mut round = Vec::new();
    while waiting.recv_many(&mut round, MOST).await > 0 {
        tokio::time::sleep(LINGER).await;
        while round.len() < MOST
            && let Ok(request) = waiting.try_recv()
        {
            round.push(request);
        }
        // Who gave up is not asked for: while Kafka is away there would be more of them than can be answered once it is back.
        round.retain(|request| !request.answer.is_closed());
        if round.is_empty() {
            continue;
        }
        let (wanted, askers): (Vec<K>, Vec<_>) =
            round.drain(..).map(|request| (request.wanted, request.answer)).unzip();
        for (answer, asker) in answer_all(wanted).await.into_iter().zip(askers) {
            // A pass that was given up wants no answer any more.
            drop(asker.send(answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_of_one_moment_are_answered_together_and_each_gets_its_own() {
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rounds);
        let doubled = Coalescer::start(move |wanted: Vec<u32>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                wanted.into_iter().map(|each| each * 2).collect()
            }
        });
        let answers = join_all((0..150).map(|number| doubled.request(number))).await;
        assert_eq!(answers, (0..150).map(|number| Some(number * 2)).collect::<Vec<_>>());
        assert_eq!(rounds.load(Ordering::SeqCst), 1);
        join_all((0..300).map(|number| doubled.request(number))).await;
        assert_eq!(rounds.load(Ordering::SeqCst), 3, "a round has a bound");
    }

    /// Wrong: after an outage Kafka is asked for what nobody wants to hear any more.
    #[tokio::test(start_paused = true)]
    async fn who_gave_up_is_not_asked_for() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let slow = Coalescer::start(move |wanted: Vec<u32>| {
            counted.fetch_add(wanted.len(), Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_secs(10)).await;
                wanted
            }
        });
        for number in 0..5 {
            let given_up = tokio::time::timeout(Duration::from_secs(1), slow.request(number)).await;
            assert!(given_up.is_err());
        }
        assert_eq!(slow.request(5).await, Some(5));
        assert_eq!(asked.load(Ordering::SeqCst), 2, "the first, whose round had begun, and the one who waited");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_task_that_died() {
        let dying = Coalescer::start(|_: Vec<()>| async { panic!("dies") });
        let answer: Option<()> = dying.request(()).await;
        assert_eq!(answer, None);
        assert_eq!(dying.request(()).await, None);
    }
}
