//! The campus: what stands where, and which addresses it has.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Buildings; each has 10.B.0.0/16 and 2001:db8:B::/48.
const BUILDINGS: u8 = 96;
/// Networks in a building, each with a prefix in both families: 4,608 in all.
const NETS_PER_BUILDING: u8 = 24;
/// The first VLAN, and how many there are before they are used again in another building.
const FIRST_VLAN: u16 = 100;
const VLANS: u16 = 3900;

const TREES: [&str; 24] = [
    "Alder", "Ash", "Aspen", "Beech", "Birch", "Cedar", "Cherry", "Chestnut", "Cypress", "Elder", "Elm", "Hawthorn",
    "Hazel", "Holly", "Juniper", "Larch", "Linden", "Maple", "Oak", "Pine", "Poplar", "Rowan", "Spruce", "Willow",
];
const FORMS: [&str; 4] = ["Hall", "House", "Court", "Tower"];

/// What a network is for, and so when it is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Office,
    Dormitory,
    Laboratory,
    Server,
    Wireless,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Office,
        Self::Dormitory,
        Self::Laboratory,
        Self::Server,
        Self::Wireless,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Office => "offices",
            Self::Dormitory => "dormitory",
            Self::Laboratory => "laboratory",
            Self::Server => "servers",
            Self::Wireless => "wireless",
        }
    }

    fn prefix_length(self) -> u8 {
        match self {
            Self::Office => 26,
            Self::Dormitory => 24,
            Self::Laboratory => 25,
            Self::Server => 27,
            Self::Wireless => 23,
        }
    }
}

/// One network of the campus.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    pub(crate) kind: Kind,
    pub(crate) building: u8,
    pub(crate) number: u8,
    /// The first address of its IPv4 prefix.
    pub(crate) v4: u32,
    pub(crate) v4_length: u8,
    pub(crate) vlan: u16,
}

impl Net {
    /// How many hosts it has.
    pub(crate) fn hosts(&self) -> u32 {
        (1 << (32 - self.v4_length)) - 2
    }

    pub(crate) fn v4_host(&self, host: u32) -> u32 {
        self.v4 + 1 + host % self.hosts()
    }

    pub(crate) fn v6_host(&self, host: u32) -> u128 {
        let host = u128::from(host % self.hosts());
        self.v6() + (host.wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0xffff_ffff_ffff) * 256 + host + 1
    }

    fn v6(&self) -> u128 {
        Ipv6Addr::new(
            0x2001,
            0xdb8,
            u16::from(self.building),
            u16::from(self.number),
            0,
            0,
            0,
            0,
        )
        .to_bits()
    }
}

/// A network outside that the list knows by name.
pub(crate) struct Outside {
    name: &'static str,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
    pub(crate) autonomous_system: u32,
}

/// The named networks outside, of 64 addresses each; RFC 5737 and RFC 9637 addresses, RFC 5398 numbers.
pub(crate) const OUTSIDE: [Outside; 8] = [
    outside("Vidstream video", 113, 0, 64496),
    outside("Cumulus cloud", 113, 64, 64497),
    outside("Orbit search", 113, 128, 64498),
    outside("Chatter social", 113, 192, 64499),
    outside("Patchwork updates", 100, 0, 64500),
    outside("Partner university", 100, 64, 64501),
    outside("Tessera games", 100, 128, 64502),
    outside("Parcel mail", 100, 192, 64503),
];

const fn outside(name: &'static str, third: u8, fourth: u8, autonomous_system: u32) -> Outside {
    let first_two = if third == 113 { (203, 0) } else { (198, 51) };
    Outside {
        name,
        v4: Ipv4Addr::new(first_two.0, first_two.1, third, fourth),
        v6: Ipv6Addr::new(0x3fff, third as u16, fourth as u16, 0, 0, 0, 0, 0),
        autonomous_system,
    }
}

/// The invented campus: 96 buildings with 24 networks each.
#[derive(Debug, Clone)]
pub struct Campus {
    nets: Vec<Net>,
}

impl Campus {
    /// The campus of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut nets = Vec::new();
        let mut vlan = 0_u16;
        for building in 0..BUILDINGS {
            // What a building mostly is: half are offices, a quarter laboratories, the rest dormitories.
            let main = match random.random_range(0..8) {
                0..4 => Kind::Office,
                4..6 => Kind::Laboratory,
                _ => Kind::Dormitory,
            };
            let mut next = Ipv4Addr::new(10, building, 0, 0).to_bits();
            for number in 0..NETS_PER_BUILDING {
                let kind = match number {
                    0 => Kind::Wireless,
                    1 => Kind::Server,
                    _ if random.random_bool(0.8) => main,
                    _ => Kind::ALL[random.random_range(0..Kind::ALL.len())],
                };
                let v4_length = kind.prefix_length();
                let size = 1_u32 << (32 - v4_length);
                let v4 = next.next_multiple_of(size);
                next = v4 + size;
                nets.push(Net {
                    kind,
                    building,
                    number,
                    v4,
                    v4_length,
                    vlan: FIRST_VLAN + vlan % VLANS,
                });
                vlan += 1;
            }
        }
        Self { nets }
    }

    /// Writes the list of subnets that a resolver reads: over 4,700 prefixes.
    ///
    /// # Errors
    ///
    /// Whatever `to` fails with.
    pub fn write_subnets(&self, to: &mut impl Write) -> io::Result<()> {
        writeln!(to, "# The subnets of an invented campus.")?;
        writeln!(to, "prefix,name,router,interface,vlan,internal")?;
        writeln!(to, "10.0.0.0/8,campus (unassigned),core-1,,,true")?;
        writeln!(to, "2001:db8::/32,campus (unassigned),core-1,,,true")?;
        for building in 0..BUILDINGS {
            let (name, router) = (building_name(building), router_name(building));
            writeln!(to, "10.{building}.0.0/16,{name} (unassigned),{router},,,true")?;
            writeln!(to, "2001:db8:{building:x}::/48,{name} (unassigned),{router},,,true")?;
        }
        for net in &self.nets {
            let name = format!("{} {} {}", building_name(net.building), net.kind.label(), net.number);
            let what = format!(
                "{name},{},ge-0/0/{},{},true",
                router_name(net.building),
                net.number,
                net.vlan
            );
            writeln!(to, "{}/{},{what}", Ipv4Addr::from_bits(net.v4), net.v4_length)?;
            writeln!(to, "{}/64,{what}", Ipv6Addr::from_bits(net.v6()))?;
        }
        for outside in &OUTSIDE {
            writeln!(to, "{}/26,{},border-1,,,false", outside.v4, outside.name)?;
            writeln!(to, "{}/48,{},border-1,,,false", outside.v6, outside.name)?;
        }
        Ok(())
    }

    /// The networks that an exporter watches, of so many exporters.
    pub(crate) fn area(&self, exporter: usize, exporters: usize) -> impl Iterator<Item = &Net> {
        self.nets
            .iter()
            .filter(move |net| usize::from(net.building) % exporters == exporter)
    }

    /// What to call that.
    pub(crate) fn area_name(&self, exporter: usize, exporters: usize) -> String {
        let mut buildings: Vec<u8> = self.area(exporter, exporters).map(|net| net.building).collect();
        buildings.dedup();
        match buildings.as_slice() {
            [first, .., last] => {
                format!(
                    "{} buildings, {} to {}",
                    buildings.len(),
                    building_name(*first),
                    building_name(*last)
                )
            }
            [only] => building_name(*only),
            [] => String::new(),
        }
    }
}

fn building_name(building: u8) -> String {
    let building = usize::from(building);
    format!(
        "{} {}",
        TREES[building % TREES.len()],
        FORMS[building / TREES.len() % FORMS.len()]
    )
}

fn router_name(building: u8) -> String {
    format!("gw-{}", building_name(building).to_lowercase().replace(' ', "-"))
}

#[cfg(test)]
mod tests {
    use flow_enrich::{Resolver, SubnetTable, key_of};

    use super::*;

    #[test]
    fn the_list_of_subnets_is_what_the_resolver_reads() {
        let campus = Campus::new(7);
        let mut list = Vec::new();
        campus.write_subnets(&mut list).unwrap();
        let table = SubnetTable::from_csv(&list).unwrap();
        assert!(table.subnets().len() > 4000, "{}", table.subnets().len());
        let resolver = Resolver::new(table, 0);
        for net in &campus.nets {
            for host in [0, 1, net.hosts() - 1] {
                let v4 = resolver
                    .lookup(&key_of(Ipv4Addr::from_bits(net.v4_host(host)).into()))
                    .unwrap();
                let v6 = resolver
                    .lookup(&key_of(Ipv6Addr::from_bits(net.v6_host(host)).into()))
                    .unwrap();
                assert_eq!(resolver.subnet(v4).vlan, Some(net.vlan));
                assert_eq!(resolver.subnet(v4).name, resolver.subnet(v6).name);
            }
        }
    }

    #[test]
    fn a_seed_is_a_campus() {
        let list = |seed| {
            let mut list = Vec::new();
            Campus::new(seed).write_subnets(&mut list).unwrap();
            list
        };
        assert_eq!(list(1), list(1));
        assert_ne!(list(1), list(2));
    }
}
