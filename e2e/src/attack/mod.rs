//! Clients that are in the way, one kind after the other, while honest users ask: `make attack`.
//!
//! Each kind is pointed at one issuer pod, and for the internal ports at consumer and operator too. Beside it, users come at a fixed
//! rate through the Service; each of them that is not served counts. What the processes weighed, and whether one was restarted, is
//! looked up afterwards.

mod honest;
mod kinds;
mod swarm;
mod watch;

pub use self::honest::{Honest, Tally};
pub use self::kinds::{Kind, Targets};
pub use self::swarm::Swarm;
pub use self::watch::Weights;
