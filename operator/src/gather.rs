//! Gathers what passes want at about the same time, so that it can be asked for at once.
//!
//! One round is under way at a time: what is wished for meanwhile becomes the next one.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How long others may join a round.
const LINGER: Duration = Duration::from_millis(20);
/// Wishes in one round.
const MOST: usize = 200;
/// Wishes that may wait; whoever comes then waits for room.
const QUEUE: usize = 1_024;

struct Wish<K, T> {
    wanted: K,
    answer: oneshot::Sender<T>,
}

/// Answers wishes, many at once. Its task ends with it.
pub struct Gather<K, T> {
    wishes: mpsc::Sender<Wish<K, T>>,
    task: JoinHandle<()>,
}

impl<K, T> Drop for Gather<K, T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K: Send + 'static, T: Send + 'static> Gather<K, T> {
    /// Begins. `answer_all` answers each wish, in their order. Call it within a runtime.
    pub fn start<F>(answer_all: impl Fn(Vec<K>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Vec<T>> + Send + 'static,
    {
        let (wishes, waiting) = mpsc::channel(QUEUE);
        Self { wishes, task: tokio::spawn(serve(waiting, answer_all)) }
    }

    /// The answer to a wish. `None`: there will be none, since the task has died.
    pub async fn ask(&self, wanted: K) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Wish { wanted, answer }).await.ok()?;
        answered.await.ok()
    }
}

async fn serve<K, T, F>(mut waiting: mpsc::Receiver<Wish<K, T>>, answer_all: impl Fn(Vec<K>) -> F)
where
    F: Future<Output = Vec<T>>,
{
    let mut round = Vec::new();
    while waiting.recv_many(&mut round, MOST).await > 0 {
        tokio::time::sleep(LINGER).await;
        while round.len() < MOST
            && let Ok(wish) = waiting.try_recv()
        {
            round.push(wish);
        }
        let (wanted, askers): (Vec<K>, Vec<_>) = round.drain(..).map(|wish| (wish.wanted, wish.answer)).unzip();
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
    async fn wishes_of_one_moment_are_answered_together_and_each_gets_its_own() {
        let rounds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&rounds);
        let doubled = Gather::start(move |wanted: Vec<u32>| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                wanted.into_iter().map(|each| each * 2).collect()
            }
        });
        let answers = join_all((0..150).map(|number| doubled.ask(number))).await;
        assert_eq!(answers, (0..150).map(|number| Some(number * 2)).collect::<Vec<_>>());
        assert_eq!(rounds.load(Ordering::SeqCst), 1);
        join_all((0..300).map(|number| doubled.ask(number))).await;
        assert_eq!(rounds.load(Ordering::SeqCst), 3, "a round has a bound");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_task_that_died() {
        let dying = Gather::start(|_: Vec<()>| async { panic!("dies") });
        let answer: Option<()> = dying.ask(()).await;
        assert_eq!(answer, None);
        assert_eq!(dying.ask(()).await, None);
    }
}
