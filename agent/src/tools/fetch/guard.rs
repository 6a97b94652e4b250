//! Which addresses of the internet may be asked for a page. Decides; resolves and connects nothing.
//!
//! Everything that is not a public unicast address is refused: the machine itself, its networks, and
//! addresses that carry another one inside, which a router in between would unwrap. After the
//! registries of RFC 6890 as IANA keeps them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::tools::settings::AddressRange;

/// Networks that are not public, with what they are.
const REFUSED_V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared (CGNAT)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    // A cloud machine finds its keys at 169.254.169.254.
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "reserved"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "reserved"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
    // Public, but a cloud's machines are told their secrets there.
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's own"),
];

/// The only part of the space that is given out.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What in it is not public.
const REFUSED_V6: &[(Ipv6Addr, u32, &str)] = &[
    // Teredo among them, which carries another address.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved"),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "for documentation",
    ),
    (
        Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0),
        16,
        "6to4, which carries another address",
    ),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "for documentation",
    ),
];

/// Outside of it, for a better word than "reserved".
const NAMED_V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0),
        96,
        "IPv4-mapped, which carries another address",
    ),
    (
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),
        96,
        "NAT64, which carries another address",
    ),
    (
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0),
        48,
        "NAT64, which carries another address",
    ),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// Why an address may not be asked; `None` when it may.
pub(super) fn refusal(address: IpAddr, allowed: &[AddressRange]) -> Option<&'static str> {
    if allowed.iter().any(|range| range.contains(address)) {
        return None;
    }
    match address {
        IpAddr::V4(address) => {
            let bits = u128::from(address.to_bits());
            let within = |network: Ipv4Addr, prefix: u32| {
                same(u128::from(network.to_bits()), bits, 32 - prefix)
            };
            REFUSED_V4
                .iter()
                .find(|(network, prefix, _)| within(*network, *prefix))
                .map(|(.., what)| *what)
        }
        IpAddr::V6(address) => {
            let within = |network: Ipv6Addr, prefix: u32| {
                same(network.to_bits(), address.to_bits(), 128 - prefix)
            };
            let is_global = within(GLOBAL_V6.0, GLOBAL_V6.1);
            let table = if is_global { REFUSED_V6 } else { NAMED_V6 };
            let named = table
                .iter()
                .find(|(network, prefix, _)| within(*network, *prefix))
                .map(|(.., what)| *what);
            named.or((!is_global).then_some("reserved"))
        }
    }
}

fn same(network: u128, address: u128, rest: u32) -> bool {
    network >> rest == address >> rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(address: &str) -> Option<&'static str> {
        refusal(address.parse().unwrap(), &[])
    }

    #[test]
    fn every_address_that_is_not_public_is_refused() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(why(address).is_some(), "{address}");
        }
    }

    #[test]
    fn public_addresses_up_to_the_edges_of_the_others_may_be_asked() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00::1",
            "3ffe::1",
        ] {
            assert_eq!(why(address), None, "{address}");
        }
    }

    #[test]
    fn an_address_that_the_owner_named_may_be_asked_and_its_neighbour_not() {
        let allowed = ["10.0.0.5".parse().unwrap(), "fd00::/64".parse().unwrap()];
        let may = |address: &str| refusal(address.parse().unwrap(), &allowed).is_none();
        assert!(may("10.0.0.5") && may("fd00::7"));
        assert!(!may("10.0.0.6") && !may("fd00:0:0:1::7"));
        assert!(!may("::ffff:10.0.0.5"));
    }
}
