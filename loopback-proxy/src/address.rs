//! The address type of the TCP listener, which cannot hold anything but loopback.
//! It does not own binding.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address in 127.0.0.0/8 or `[::1]`, with a port (0 asks the system for one).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoopbackAddr(SocketAddr);

impl LoopbackAddr {
    /// Takes any address of this machine's loopback, and refuses every other one.
    pub fn new(ip: IpAddr, port: u16) -> Result<Self, NotLoopback> {
        // `Ipv6Addr::is_loopback` is ::1 alone: a v4-mapped address is refused on purpose, because
        // a socket bound to one can be dual-stack.
        if ip.is_loopback() {
            Ok(Self(SocketAddr::new(ip, port)))
        } else {
            Err(NotLoopback(ip.to_string()))
        }
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub const fn v4(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// `[::1]:port`.
    #[must_use]
    pub const fn v6(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port))
    }

    /// The address as the standard library has it.
    #[must_use]
    pub const fn socket_addr(self) -> SocketAddr {
        self.0
    }
}

impl TryFrom<SocketAddr> for LoopbackAddr {
    type Error = NotLoopback;

    fn try_from(address: SocketAddr) -> Result<Self, NotLoopback> {
        Self::new(address.ip(), address.port())
    }
}

impl FromStr for LoopbackAddr {
    type Err = NotLoopback;

    fn from_str(text: &str) -> Result<Self, NotLoopback> {
        let address: SocketAddr = text.parse().map_err(|_| NotLoopback(text.to_owned()))?;
        Self::try_from(address)
    }
}

impl fmt::Display for LoopbackAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The address given is not one of this machine's own loopback addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not a loopback address: the proxy listens on 127.0.0.1 or [::1] only; \
     to reach the agent from another device, run homing there"
)]
pub struct NotLoopback(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_can_be_held() {
        for good in ["127.0.0.1:7070", "127.255.3.9:1", "[::1]:0"] {
            assert_eq!(good.parse::<LoopbackAddr>().unwrap().to_string(), good);
        }
        for bad in [
            "0.0.0.0:7070",
            "[::]:7070",
            "192.168.1.4:7070",
            "[::ffff:127.0.0.1]:7070",
            "localhost:7070",
            "127.0.0.1",
            "",
        ] {
            assert!(bad.parse::<LoopbackAddr>().is_err(), "{bad} was accepted");
        }
    }
}
