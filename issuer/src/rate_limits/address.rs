//! From which address a request comes: a decision from the connection and the head alone.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use coupon_core::contract::Network;

/// The list of whom a request has passed: each proxy adds, at its end, the address that it got the request from.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Proxies that a request may have passed. More are not looked at: it is some client that has written them.
const MOST_HOPS: usize = 16;

/// An address, as it is counted: of IPv6 the first 64 bits, as whoever has one address there has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    V4(Ipv4Addr),
    V6([u8; 8]),
}

impl Counted {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The address that a request comes from: whoever holds the connection, or, where that is a proxy that is trusted, the last one in
/// `X-Forwarded-For` that is none. What stands before it was written by nobody who is trusted. Where the list cannot be read up to there, or does not end, it
/// is the connection's: never nobody's.
pub(super) fn of_request(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut first = peer;
    for (hop, passed) in hops.zip(0..) {
        match read(hop) {
            Some(address) if !is_trusted(address) => return address,
            Some(address) if passed < MOST_HOPS => first = address,
            Some(_) | None => return peer,
        }
    }
    // A trusted machine asks for itself.
    first
}

/// One entry of the list: an address, which some proxies write with its port, and one of IPv6 with brackets then.
fn read(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = text.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()));
    address.or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod decoders;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn with(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    /// Wrong: who writes the header, and is no proxy of ours, chooses whom its requests count for.
    #[test]
    fn only_a_trusted_proxy_says_for_whom_it_asks() {
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        let (client, gateway, gateway6) = ("203.0.113.9", "10.0.0.1", "fd00::1");
        let cases: [(&str, &[&[u8]], &str); 31] = [
            // No proxy in front, or none that is trusted.
            (client, &[], client),
            (client, &[b"198.51.100.1"], client),
            (client, &[b"10.0.0.1"], client),
            (client, &[b"198.51.100.1, 10.0.0.1"], client),
            ("::ffff:203.0.113.9", &[b"198.51.100.1"], client),
            // A trusted one.
            (gateway, &[b"203.0.113.9"], client),
            ("::ffff:10.0.0.1", &[b"203.0.113.9"], client),
            (gateway6, &[b"203.0.113.9"], client),
            (gateway, &[b"2001:db8::7"], "2001:db8::7"),
            (gateway, &[b"::ffff:203.0.113.9"], client),
            // Behind another trusted one.
            (gateway, &[b"203.0.113.9, 10.0.0.2"], client),
            (gateway, &[b"203.0.113.9", b"10.0.0.2, fd00::2"], client),
            // What the client has written itself stands further to the left.
            (gateway, &[b"198.51.100.1, 203.0.113.9"], client),
            (gateway, &[b"198.51.100.1", b"203.0.113.9"], client),
            (gateway, &[b"10.0.0.7, 203.0.113.9"], client),
            (gateway, &[b"no address, 203.0.113.9"], client),
            (gateway, &[b"\xff", b"203.0.113.9,10.0.0.2"], client),
            // With a port, and with space.
            (gateway, &[b"203.0.113.9:4711"], client),
            (gateway, &[b" \t203.0.113.9 "], client),
            (gateway, &[b"[2001:db8::7]:4711"], "2001:db8::7"),
            (gateway, &[b"[2001:db8::7]"], "2001:db8::7"),
            // Nobody there but trusted ones.
            (gateway, &[], gateway),
            (gateway, &[b"10.0.0.7"], "10.0.0.7"),
            (gateway, &[b"10.0.0.7, 10.0.0.8"], "10.0.0.7"),
            // What cannot be read counts for who sent it.
            (gateway, &[b""], gateway),
            (gateway, &[b"unknown"], gateway),
            (gateway, &[b"203.0.113.9, "], gateway),
            (gateway, &[b"203.0.113.9, unknown, 10.0.0.2"], gateway),
            (gateway, &[b"203.0.113.9 198.51.100.1"], gateway),
            (gateway, &[b"203.0.113.009"], gateway),
            (gateway, &[b"fe80::1%eth0"], gateway),
        ];
        for (peer, lines, expected) in cases {
            let found = of_request(peer.parse().unwrap(), &with(lines), &trusted);
            assert_eq!(found.to_string(), expected, "{peer}: {lines:?}");
        }
    }

    #[test]
    fn where_nobody_is_trusted_the_connection_counts() {
        let found = of_request("10.0.0.1".parse().unwrap(), &with(&[b"203.0.113.9"]), &[]);
        assert_eq!(found.to_string(), "10.0.0.1");
    }

    /// RFC 7239's header is not read: most proxies write the other one, and hand on what a client wrote there.
    #[test]
    fn another_header_says_nothing() {
        let mut headers = HeaderMap::new();
        for name in ["forwarded", "x-real-ip", "true-client-ip", "x_forwarded_for"] {
            headers.insert(name, HeaderValue::from_static("for=203.0.113.9"));
        }
        let found = of_request("10.0.0.1".parse().unwrap(), &headers, &networks(&["10.0.0.0/8"]));
        assert_eq!(found.to_string(), "10.0.0.1");
    }

    /// Wrong: a head full of addresses costs as much as thousands of requests.
    #[test]
    fn a_long_list_is_not_read_to_its_end() {
        let trusted = networks(&["10.0.0.0/8"]);
        let behind = |proxies: usize| {
            let line = format!("203.0.113.9{}", ", 10.0.0.2".repeat(proxies));
            of_request("10.0.0.1".parse().unwrap(), &with(&[line.as_bytes()]), &trusted).to_string()
        };
        assert_eq!(
            (behind(16), behind(17), behind(1_400)),
            ("203.0.113.9".into(), "10.0.0.1".into(), "10.0.0.1".into())
        );
    }

    #[test]
    fn who_has_one_address_of_ipv6_has_all_of_its_network() {
        let counted = |text: &str| Counted::of(text.parse().unwrap());
        assert_eq!(counted("2001:db8:0:7::1"), counted("2001:db8:0:7:ffff:ffff:ffff:ffff"));
        assert_ne!(counted("2001:db8:0:7::1"), counted("2001:db8:0:8::1"));
        assert_ne!(counted("203.0.113.9"), counted("203.0.113.10"));
        assert_eq!(counted("203.0.113.9"), counted("::ffff:203.0.113.9"));
    }
}
