//! The background tasks of a process, by name. None should end before the process does.

use std::future::Future;

use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// The running tasks. Dropping it ends all of them.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<&'static str>,
    /// Those without which the process is not alive.
    essential: Vec<(&'static str, AbortHandle)>,
}

impl Tasks {
    /// Starts a task.
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.running.spawn(async move {
            task.await;
            name
        })
    }

    /// Starts a task without which the process is not alive. It ends by itself only through a fault.
    pub(super) fn spawn_essential(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.spawn(name, task);
        self.essential.push((name, handle));
    }

    /// The same, and ends it at `stop`.
    pub(super) fn spawn_until(
        &mut self,
        name: &'static str,
        stop: &CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = stop.clone();
        self.spawn_essential(name, async move {
            // The task that joins this one decides whether it ended by itself or was stopped.
            let _ = stop.run_until_cancelled(task).await;
        });
    }

    /// The essential tasks, by which the probes tell whether the process is alive.
    pub(super) fn take_essential(&mut self) -> Vec<(&'static str, AbortHandle)> {
        std::mem::take(&mut self.essential)
    }

    /// Ends when any task does, with why.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match self.running.join_next().await {
            Some(Ok(name)) => anyhow::anyhow!("the task `{name}` has ended"),
            Some(Err(error)) => anyhow::anyhow!("a task failed: {error}"),
            None => anyhow::anyhow!("no task is running"),
        }
    }

    /// Waits until the task `wanted` has ended, passing over others that end.
    pub(super) async fn joined(&mut self, wanted: &str) {
        while let Some(ended) = self.running.join_next().await {
            match ended {
                Ok(name) if name == wanted => return,
                Ok(name) => tracing::warn!(name, "a task has ended while shutting down"),
                Err(error) => tracing::warn!(%error, "a task failed while shutting down"),
            }
        }
    }
}
