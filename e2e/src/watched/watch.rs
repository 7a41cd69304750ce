//! Looks once a second at which alerts fire and what is sent, and asks all queries of a time.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use super::dashboards::Query;
use super::report::Answers;
use super::servers::{Range, Servers};
use super::timeline::{Chapter, Event};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// A sale that is watched, chapter by chapter.
pub struct Watch<'a> {
    servers: &'a Servers,
    begin: Instant,
    step_ms: u64,
    /// What was asked, with an answer for each chapter that is over.
    pub answers: Vec<Answers>,
    /// The chapters that are over.
    pub chapters: Vec<Chapter>,
}

impl<'a> Watch<'a> {
    /// Time begins now. Queries have an answer for every `step_ms`.
    pub fn new(servers: &'a Servers, queries: Vec<Query>, step_ms: u64) -> Self {
        let answers = queries.into_iter().map(|query| Answers { query, of: Vec::new() }).collect();
        Self { servers, begin: Instant::now(), step_ms, answers, chapters: Vec::new() }
    }

    /// A line of progress.
    pub fn say(&self, what: &str) {
        println!("[{:5.1} s] {what}", self.begin.elapsed().as_secs_f64());
    }

    /// A chapter begins.
    ///
    /// # Errors
    /// If a server gives no answer.
    pub async fn enter(&self, name: &str) -> Result<Chapter> {
        let sight = self.servers.look().await?;
        let mut chapter = Chapter::new(name, sight.at_ms);
        self.tell(&chapter.see(sight));
        Ok(chapter)
    }

    async fn look(&self, chapter: &mut Chapter) -> Result<()> {
        self.tell(&chapter.see(self.servers.look().await?));
        Ok(())
    }

    fn tell(&self, events: &[Event]) {
        for event in events {
            self.say(&format!("  {event}"));
        }
    }

    /// Looks until it is `over`, at most for `within`. Whether it was over in time.
    ///
    /// # Errors
    /// If a server gives no answer.
    pub async fn until(
        &self,
        chapter: &mut Chapter,
        within: Duration,
        over: impl Fn(&Chapter) -> bool,
    ) -> Result<bool> {
        let deadline = Instant::now() + within;
        loop {
            self.look(chapter).await?;
            if over(chapter) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(EVERY).await;
        }
    }

    /// Looks until `work` is done.
    ///
    /// # Errors
    /// Those of `work`; and if a server gives no answer.
    pub async fn meanwhile<T>(&self, chapter: &mut Chapter, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep(EVERY) => self.look(chapter).await?,
            }
        }
    }

    /// The chapter is over: every query is asked for all of its time.
    ///
    /// # Errors
    /// If Prometheus gives no answer.
    pub async fn leave(&mut self, chapter: Chapter) -> Result<()> {
        let range = Range { from_ms: chapter.begun_ms, to_ms: chapter.ended_ms, step_ms: self.step_ms };
        for answers in &mut self.answers {
            answers.of.push(self.servers.ask(&answers.query.ask, range).await?);
        }
        self.chapters.push(chapter);
        Ok(())
    }
}
