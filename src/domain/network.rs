//! A range of IP addresses: `10.0.0.0/8`, or one address.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNetworkError {
    /// Neither an address nor address and prefix.
    #[error("{0:?} is no network; write it as \"10.0.0.0/8\" or \"::1\"")]
    NotANetwork(String),
    /// Bits below the prefix, which says that one of both is a slip.
    #[error("{0:?} has bits below its prefix")]
    HostBits(String),
}

/// The addresses that share a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    prefix: u8,
}

impl IpNetwork {
    /// 127.0.0.0/8.
    pub const LOOPBACK_V4: Self = Self { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 };
    /// ::1.
    pub const LOOPBACK_V6: Self = Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 };

    /// Whether `address` belongs to it. An IPv4 address inside an IPv6 one (`::ffff:127.0.0.1`, what
    /// a listener on `[::]` sees) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && first_bits(address, self.prefix) == bits(self.address)
    }

    fn longest_prefix(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn first_bits(address: IpAddr, prefix: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    bits(address) & mask
}

impl FromStr for IpNetwork {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseNetworkError::NotANetwork(text.chars().take(80).collect());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = Self::longest_prefix(address);
        let prefix = match prefix {
            None => longest,
            Some(digits) => digits.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(wrong)?,
        };
        if first_bits(address, prefix) != bits(address) {
            return Err(ParseNetworkError::HostBits(text.to_owned()));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == Self::longest_prefix(self.address) {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for IpNetwork {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IpNetwork {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<IpNetwork>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_what_shares_its_prefix_and_nothing_else() {
        assert!(contains("127.0.0.0/8", "127.255.0.1"));
        assert!(contains("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(!contains("127.0.0.0/8", "128.0.0.1"));
        assert!(!contains("127.0.0.0/8", "7f00::1"));
        assert!(contains("::1", "::1"));
        assert!(!contains("::1", "::2"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(!contains("::/0", "203.0.113.9"));
        assert!(contains("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!contains("2001:db8::/33", "2001:db8:8000::1"));
    }

    #[test]
    fn slips_are_refused() {
        for wrong in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/", "host"] {
            assert!(matches!(wrong.parse::<IpNetwork>(), Err(ParseNetworkError::NotANetwork(_))), "{wrong}");
        }
        assert!(matches!("10.0.0.1/8".parse::<IpNetwork>(), Err(ParseNetworkError::HostBits(_))));
    }

    #[test]
    fn a_network_is_written_as_it_was_read() {
        for text in ["127.0.0.0/8", "::1", "192.0.2.7", "2001:db8::/32"] {
            assert_eq!(text.parse::<IpNetwork>().unwrap().to_string(), text);
        }
    }
}
