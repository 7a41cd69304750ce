//! Serves until the process is ended.

use std::path::PathBuf;

use anyhow::{Context, Result};
use axum::Router;
use axum::serve::ListenerExt;
use clap::Args;
use coupon_runtime::http::raise_open_files;
use coupon_runtime::listening;

/// Where to listen.
#[derive(Debug, Clone, Args)]
pub(crate) struct Listen {
    /// File to which the address that is listened on is written, as JSON.
    #[arg(long, env = "COUPON_ADDRESSES_FILE")]
    pub(crate) addresses_file: Option<PathBuf>,
}

/// A runtime as an issuer has it: a thread for each core.
///
/// # Errors
/// It cannot be made.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    raise_open_files().context("the limit of open files")?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")
}

/// Serves on a free port of this machine.
///
/// # Errors
/// There is none, or nothing can be accepted any more.
pub(crate) async fn serve(listen: &Listen, router: Router) -> Result<()> {
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let (listener, address) = listening::bind(any, "users").await?;
    listening::announce(listen.addresses_file.as_deref(), &[("public", address)])?;
    let listener = listener.tap_io(|stream| {
        // Without it answers may wait for each other; it is no fault if it cannot be set.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}
