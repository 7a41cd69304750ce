//! Binding of ports, and saying which: port 0 lets the system choose one that is free, so that whoever starts the process need not
//! guess one.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
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

/// Connections that wait to be accepted, at most.
pub(crate) const BACKLOG: i32 = 1024;

/// Listens on `address`; the second is the address that it got. `[::]` means all addresses, those of IPv4 too, whatever the system's own
/// default is; on a machine without IPv6 it means those of IPv4.
///
/// # Errors
/// [`ListenError::Bind`].
pub async fn bind(address: SocketAddr, what: &'static str) -> Result<(TcpListener, SocketAddr), ListenError> {
    let refused = |source| ListenError::Bind { address, what, source };
    let bound = match address {
        SocketAddr::V6(all) if all.ip().is_unspecified() => both(address),
        _ => TcpListener::bind(address).await,
    };
    let listener = match bound {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && lacks_ipv6(&error) => {
            tracing::info!(%error, what, "there is no IPv6 here: listening on IPv4 only");
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    };
    let listener = listener.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

/// Listens on both families with one socket.
fn both(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // As tokio's own: a port whose last connections have not ended yet can be bound again.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether an error says that the machine has no IPv6: the kernel does not know it, or it is switched off for every interface.
fn lacks_ipv6(error: &io::Error) -> bool {
    /// Address family not supported by protocol.
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
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

    /// Wrong: in a cluster of IPv6 nobody reaches a pod, or in one of both families half of its callers do not.
    #[tokio::test]
    async fn all_addresses_are_those_of_both_families() {
        let (listener, bound) = bind("[::]:0".parse().unwrap(), "everybody").await.unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let reach = async |host: &str| tokio::net::TcpStream::connect((host, bound.port())).await.map(drop);
        reach("127.0.0.1").await.unwrap();
        if bound.is_ipv6() {
            reach("::1").await.unwrap();
        }
        let taken = bind(bound, "somebody").await.unwrap_err().to_string();
        assert!(taken.contains("in use"), "another fault is no lack of IPv6: {taken}");
    }

    #[test]
    fn a_machine_without_ipv6_is_told_from_a_port_that_is_taken() {
        assert!(lacks_ipv6(&io::Error::from_raw_os_error(97)));
        assert!(lacks_ipv6(&io::ErrorKind::AddrNotAvailable.into()));
        assert!(!lacks_ipv6(&io::ErrorKind::AddrInUse.into()));
        assert!(!lacks_ipv6(&io::ErrorKind::PermissionDenied.into()));
    }

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
