//! The operator: makes what a `CouponCampaign` asks for, and keeps it so.

pub mod api;
