//! The HTTP/1.1 server of every port: who may stay connected for how long, and what becomes of who is in the way.
//!
//! hyper reads and writes; what it leaves open is decided here. Memory and connections have a bound ([`Limits`]), each state of a
//! connection has a deadline ([`phase`]), and a server that is full closes whoever is idle or slow before it refuses anybody. What
//! hyper refuses by itself has the same JSON body as every other refusal.

mod accept;
mod asker;
mod bodies;
mod connections;
mod cors;
mod failure;
mod handler;
mod limits;
mod linger;
mod manners;
mod peer;
mod phase;
mod server;
mod stats;
mod stream;

pub use self::bodies::{BodyBudget, Reserved};
pub use self::cors::{Cors, CorsTerms, Origin, OriginError};
pub use self::limits::{Limits, MAX_BODY, MAX_INTERNAL_BODY, raise_open_files};
pub use self::manners::{Manners, Retelling};
pub use self::peer::Peer;
pub use self::server::Server;
pub use self::stats::Stats;
