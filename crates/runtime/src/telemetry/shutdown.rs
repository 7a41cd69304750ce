//! Being told to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The wish that the process ends: SIGTERM or SIGINT. Until this is there such a signal kills without a word, or, as process 1 of a
/// container, is not heard at all. So it comes before anything by which others can tell that the process is there.
#[derive(Debug)]
pub struct ShutdownSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl ShutdownSignal {
    /// From now on signals are heard, also those that come before [`Self::received`]. Inside of a runtime.
    ///
    /// # Errors
    /// The system takes no handler.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Ends when one has come.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wrong: a process that is told to end as soon as somebody sees its port dies of the signal, or, as process 1, does not hear it.
    #[tokio::test]
    async fn a_wish_to_end_is_heard_from_the_moment_at_which_it_is_listened_for() {
        for wish in [nix::sys::signal::SIGTERM, nix::sys::signal::SIGINT] {
            let mut signal = ShutdownSignal::install().unwrap();
            nix::sys::signal::raise(wish).unwrap();
            tokio::time::timeout(std::time::Duration::from_secs(10), signal.received()).await.expect("it was heard");
        }
    }
}
