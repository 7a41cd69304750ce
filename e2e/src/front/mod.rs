//! Gateways in front of sales: `make front-demo` and `make route-demo`.
//!
//! [`crowd`] says who comes for what, and whether an answer fits what a person has heard before; [`visitors`] sends them through the gateway at a
//! steady pace. Beside them [`forger`] asks as somebody else, and [`changes`] replaces what answers. [`gateway`] starts the gateways of
//! `examples/gateway`, [`provider`] signs tokens, [`login`] knows sessions, and [`smuggler`] writes requests by hand that a gateway and an
//! issuer might read in two ways. [`contour`] reads HTTPRoutes and Ingresses, and [`caller`] knows nothing but an address.

pub mod caller;
pub mod changes;
pub mod contour;
pub mod crowd;
pub mod forger;
pub mod gateway;
pub mod login;
pub mod provider;
pub mod smuggler;
pub mod visitors;
