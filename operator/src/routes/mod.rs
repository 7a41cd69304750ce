//! How users get from outside to a campaign's Service: an HTTPRoute or an Ingress, where the class asks for one.
//!
//! [`place`] says where that is, by the class's URL template; [`holder`] whether another campaign has that place; [`http_route`] is the kind that
//! Kubernetes does not bring along, [`taken_in`] what those say who are to lead users there, and [`refusal`] what it means if the API server
//! refuses. The objects are built beside the campaign's others (`workloads`), and written in a pass (`reconcile`).
//!
//! Neither kind is watched: HTTPRoutes may not be there at all, and appear while the operator runs. Passes ask for the one object that they
//! are about.

pub(crate) mod holder;
pub mod http_route;
pub mod place;
pub(crate) mod refusal;
pub(crate) mod taken_in;

pub use self::http_route::HttpRoute;
pub use self::place::{Names, Place, PlaceError};
