//! A network of addresses, as people write it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A network, such as `10.0.0.0/8` or `fd00::/8`. Never all addresses: whoever trusts a network would trust everybody.
///
/// ```
/// use coupon_core::contract::Network;
///
/// let network: Network = "10.0.0.0/8".parse().unwrap();
/// assert!(network.contains([10, 1, 2, 3].into()) && !network.contains([11, 1, 2, 3].into()));
/// assert!("0.0.0.0/0".parse::<Network>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no network: write an address, a slash and how many bits count, at least one, such as 10.0.0.0/8 or fd00::/8"
)]
pub struct NetworkError(String);

impl Network {
    /// Whether `address` is in it. An IPv4 address that is written as one of IPv6 is in no network: make it canonical first.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// As Kubernetes reads them: no zone, no leading zeros, and no IPv4 in the clothes of IPv6.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let read = || {
            let (address, bits) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let is_number = bits.bytes().all(|byte| byte.is_ascii_digit()) && !bits.starts_with('0');
            let bits: u8 = bits.parse().ok().filter(|_| is_number)?;
            let network = IpNet::new(address, bits).ok()?;
            (address == address.to_canonical()).then_some(Self(network))
        };
        read().ok_or_else(|| NetworkError(text.to_owned()))
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_know_who_is_in_them() {
        for (text, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            // What does not count does not count.
            ("10.1.2.3/8", "10.255.0.1", true),
            ("192.0.2.7/32", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.8", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("2001:db8::1/128", "2001:db8::1", true),
            ("10.0.0.0/8", "fd12::1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", false),
            ("128.0.0.0/1", "200.1.1.1", true),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), is_in, "{text}, {address}");
            assert_eq!(serde_json::from_value::<Network>(serde_json::to_value(network).unwrap()).unwrap(), network);
        }
    }

    /// Wrong: a typing error that trusts another network than was meant, or everybody.
    #[test]
    fn what_is_no_network_is_refused_in_words() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/ 8",
            " 10.0.0.0/8",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0/8/8",
            "0.0.0.0/0",
            "::/0",
            "fd00::/129",
            "fe80::1%eth0/64",
            "::ffff:10.0.0.0/104",
            "[fd00::]/8",
            "gateway/8",
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}` is no network")), "{error}");
        }
    }
}
