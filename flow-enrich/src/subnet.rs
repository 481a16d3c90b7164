use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// A part of the network under a name: what a prefix means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subnet {
    /// The addresses that belong to it, save those of a longer prefix in the list.
    pub prefix: IpNet,
    /// What users call it. Several prefixes may share a name, as the IPv4 and the IPv6 side of one network do.
    pub name: String,
    /// The router it hangs on.
    pub router: Option<String>,
    /// The router's interface.
    pub interface: Option<String>,
    /// The VLAN it is.
    pub vlan: Option<u16>,
    /// Whether the hosts in it are ours. A default route or a partner's network is in the list without being ours.
    pub internal: bool,
}

/// A subnet's place in its list; only of use with the [`Resolver`](crate::Resolver) that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubnetId(pub(crate) u32);

impl SubnetId {
    /// The place in the list, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An address as its 16 bytes; an IPv4 address becomes `::ffff:a.b.c.d`.
#[must_use]
pub fn key_of(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address),
    }
}
