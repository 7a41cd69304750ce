//! Binding of ports, and saying which: port 0 lets the system choose one that is free, so that whoever starts the process need not
//! guess one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

/// Why a process cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or needs a right.
    #[error("cannot listen on {address} for {what}: {source}; choose another address or port, or end what has it")]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// Who it is for.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// The file of addresses cannot be written.
    #[error(
        "cannot write the addresses to {path}: {source}; COUPON_ADDRESSES_FILE must name a file in a folder that can be written"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Listens on `address`; the second is the address that it got.
///
/// # Errors
/// [`ListenError::Bind`].
pub async fn bind(address: SocketAddr, what: &'static str) -> Result<(TcpListener, SocketAddr), ListenError> {
    let refused = |source| ListenError::Bind { address, what, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

/// Writes `{"name":"address:port",...}` to `file`, if there is one. To be called once all ports are bound. Readers see the whole file or none.
///
/// # Errors
/// [`ListenError::File`].
pub fn announce(file: Option<&Path>, addresses: &[(&str, SocketAddr)]) -> Result<(), ListenError> {
    let Some(path) = file else { return Ok(()) };
    let text: BTreeMap<_, _> = addresses.iter().map(|(name, address)| (*name, address.to_string())).collect();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written = serde_json::to_vec(&text)
        .map_err(io::Error::from)
        .and_then(|text| std::fs::write(&beside, text))
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|source| ListenError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_bound_is_told_in_a_file() {
        let path = std::env::temp_dir().join(format!("coupon-addresses-{:016x}", rand::random::<u64>()));
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let ((_one, first), (_two, second)) = (bind(any, "one").await.unwrap(), bind(any, "two").await.unwrap());
        assert!(first.port() != 0 && second.port() != 0 && first != second);
        announce(None, &[("one", first)]).unwrap();
        announce(Some(&path), &[("one", first), ("two", second)]).unwrap();
        let found: BTreeMap<String, SocketAddr> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(found, BTreeMap::from([("one".to_owned(), first), ("two".to_owned(), second)]));
        std::fs::remove_file(&path).unwrap();
        let error = bind(first, "two").await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {first} for two: ")), "{error}");
        let error = announce(Some(Path::new("/nowhere/addresses")), &[]).unwrap_err().to_string();
        assert!(error.contains("/nowhere/addresses"), "{error}");
    }
}
