//! Longest-prefix match, compiled: tables of slots, indexed by some bits of the address.
//!
//! IPv4 goes by the first 16 bits, the next 8, and twice 4. IPv6 goes byte by byte, but skips the bytes that all
//! prefixes below a table share, so that a campus behind one /32 pays for the bytes that tell its subnets apart and for
//! no others.
//!
//! A slot holds either an answer (0 for none, else a subnet's index plus one) or, with [`TABLE`] set, where the next
//! table is.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Marks a slot that leads on to a table.
const TABLE: u32 = 1 << 31;
/// Slots in a table of IPv6: one for each value of a byte.
const SLOTS: usize = 256;
/// The answer of a slot that no prefix covers.
pub(crate) const NO_ANSWER: u32 = 0;

/// Both address families behind one look-up of 16 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Trie {
    v4: Trie4,
    v6: Trie6,
}

impl Trie {
    /// Compiles prefixes that are unlike each other, each with its answer.
    pub(crate) fn new(v4: Vec<(Ipv4Net, u32)>, v6: Vec<(Ipv6Net, u32)>) -> Self {
        Self {
            v4: Trie4::new(v4),
            v6: Trie6::new(v6),
        }
    }

    /// The answer of the longest prefix that covers an address.
    #[inline]
    pub(crate) fn lookup(&self, key: &[u8; 16]) -> u32 {
        let bits = u128::from_be_bytes(*key);
        // RFC 4291 §2.5.5.2: 80 zero bits, 16 one bits, the IPv4 address.
        if bits >> 32 == 0xffff {
            self.v4.lookup(low_32_bits(bits))
        } else {
            self.v6.lookup(bits)
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let words = self.v4.first.len() + self.v4.slots.len() + self.v6.slots.len();
        words * size_of::<u32>() + self.v6.tables.len() * size_of::<Table6>()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is asked for")]
fn low_32_bits(bits: u128) -> u32 {
    bits as u32
}

/// A value as a slot's number; only the lowest byte counts.
#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is asked for")]
fn low_byte(bits: u128) -> usize {
    usize::from(bits as u8)
}

/// Room for another table of slots at the end of `slots`, filled with `answer`; returns its number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a list of MAX_SUBNETS prefixes makes less than 2^20 tables"
)]
fn grow(slots: &mut Vec<u32>, answer: u32) -> u32 {
    let table = slots.len() / SLOTS;
    slots.resize(slots.len() + SLOTS, answer);
    debug_assert!(table < TABLE as usize, "a table's number leaves the mark free");
    table as u32
}

/// The steps of an IPv4 look-up behind the first 16 bits: how far the bits of each are from the right, and how many.
///
/// The last byte is taken by halves: subnets smaller than a /24 are many, and a table of 16 slots is one cache line.
const STEPS: [Step; 3] = [
    Step { shift: 8, bits: 8 },
    Step { shift: 4, bits: 4 },
    Step { shift: 0, bits: 4 },
];
/// Slots of the smallest table, in which the places of tables are counted.
const UNIT: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Step {
    shift: u32,
    bits: u32,
}

impl Step {
    /// Where the slot for an address is, in the table that a slot leads to.
    #[inline]
    fn index(self, slot: u32, address: u32) -> usize {
        (slot & !TABLE) as usize * UNIT + (address >> self.shift & ((1 << self.bits) - 1)) as usize
    }
}

#[derive(Debug, Clone)]
struct Trie4 {
    /// By the first 16 bits.
    first: Vec<u32>,
    /// The slots of all further tables, one table after the other.
    slots: Vec<u32>,
}

impl Trie4 {
    fn new(mut prefixes: Vec<(Ipv4Net, u32)>) -> Self {
        // Shorter ones first, so that a longer one overwrites its part of them.
        prefixes.sort_unstable_by_key(|(prefix, _)| prefix.prefix_len());
        // One table that nothing leads to, for the look-ups that have ended before.
        let mut trie = Self {
            first: vec![NO_ANSWER; 1 << 16],
            slots: vec![NO_ANSWER; UNIT],
        };
        for (prefix, answer) in prefixes {
            trie.insert(prefix, answer);
        }
        trie.slots.shrink_to_fit();
        trie
    }

    fn insert(&mut self, prefix: Ipv4Net, answer: u32) {
        let network = Ipv4Addr::to_bits(prefix.network());
        let length = u32::from(prefix.prefix_len());
        let first = (network >> 16) as usize;
        if length <= 16 {
            self.first[first..first + (1 << (16 - length))].fill(answer);
            return;
        }
        let mut slot = self.table_behind(self.first[first], STEPS[0]);
        self.first[first] = slot;
        for (step, next) in STEPS.into_iter().zip(STEPS.into_iter().skip(1).map(Some).chain([None])) {
            let index = step.index(slot, network);
            match next {
                Some(next) if length > 32 - step.shift => {
                    slot = self.table_behind(self.slots[index], next);
                    self.slots[index] = slot;
                }
                _ => return self.slots[index..index + (1 << (32 - step.shift - length))].fill(answer),
            }
        }
    }

    /// The slot itself if it leads to a table, else one that leads to a new table which answers as the slot did.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "MAX_SUBNETS prefixes make less than 2^28 units"
    )]
    fn table_behind(&mut self, slot: u32, step: Step) -> u32 {
        if slot & TABLE != 0 {
            return slot;
        }
        let place = self.slots.len() / UNIT;
        self.slots.resize(self.slots.len() + (1 << step.bits), slot);
        place as u32 | TABLE
    }

    #[inline]
    fn lookup(&self, address: u32) -> u32 {
        let mut slot = self.first[(address >> 16) as usize];
        for step in STEPS {
            let leads_on = mask_of(slot & TABLE != 0);
            // A slot that leads nowhere looks at the first of all, and does not take what it finds.
            let index = step.index(slot, address) & leads_on as usize;
            slot = select(leads_on, self.slots[index], slot);
        }
        slot
    }
}

/// All bits set if a condition holds, else none.
///
/// How far down an address leads depends on the address, and a branch on what was just loaded is guessed wrongly half
/// the time, each time for as long as the load takes. Choosing by mask lets the loads of one look-up overlap those of
/// the next.
#[inline]
fn mask_of(holds: bool) -> u32 {
    0_u32.wrapping_sub(u32::from(holds))
}

/// `yes` where the mask is set, else `no`.
#[inline]
fn select(mask: u32, yes: u32, no: u32) -> u32 {
    yes & mask | no & !mask
}

#[derive(Debug, Clone)]
struct Trie6 {
    root: u32,
    tables: Vec<Table6>,
    /// The tables' slots, one table after the other.
    slots: Vec<u32>,
}

/// One table, and the bytes before it that were skipped.
#[derive(Debug, Clone)]
struct Table6 {
    /// The address's bits above the byte that indexes this table.
    path_mask: u128,
    /// What they have to be.
    path: u128,
    /// The answer if they are not.
    otherwise: u32,
    /// How far the indexing byte is from the right.
    shift: u32,
}

impl Trie6 {
    fn new(mut prefixes: Vec<(Ipv6Net, u32)>) -> Self {
        prefixes.sort_unstable_by_key(|(prefix, _)| (prefix.network(), prefix.prefix_len()));
        let mut trie = Self {
            root: NO_ANSWER,
            tables: Vec::new(),
            slots: Vec::new(),
        };
        // A /0 covers every slot of the first table, but leaves that table no byte to skip to: it is the answer beside.
        let everything = prefixes.iter().position(|(prefix, _)| prefix.prefix_len() == 0);
        let answer = everything.map_or(NO_ANSWER, |at| prefixes.remove(at).1);
        trie.root = trie.compile(&prefixes, answer);
        trie.slots.shrink_to_fit();
        trie
    }

    /// Compiles sorted prefixes that share their bits down to a table's byte; each is longer than the bits that led
    /// here. `covering` is the answer of the longest prefix that covers them all. Every call goes at least one of 16 bytes further down, which bounds the recursion.
    fn compile(&mut self, prefixes: &[(Ipv6Net, u32)], covering: u32) -> u32 {
        let (Some((first, _)), Some((last, _))) = (prefixes.first(), prefixes.last()) else {
            return covering;
        };
        let shortest = prefixes
            .iter()
            .map(|(prefix, _)| u32::from(prefix.prefix_len()))
            .min()
            .unwrap_or(1);
        let (first, last) = (bits_of(first), bits_of(last));
        // The first byte in which they differ, or the one in which the shortest ends.
        let byte = ((first ^ last).leading_zeros().min(shortest - 1) / 8).min(15);
        let shift = 120 - 8 * byte;
        let path_mask = if byte == 0 { 0 } else { u128::MAX << (shift + 8) };
        let table = grow(&mut self.slots, covering);
        self.tables.push(Table6 {
            path_mask,
            path: first & path_mask,
            otherwise: covering,
            shift,
        });

        let base = table as usize * SLOTS;
        let ends_here = |length: u8| u32::from(length) <= 8 * (byte + 1);
        let mut short: Vec<&(Ipv6Net, u32)> = prefixes.iter().filter(|(p, _)| ends_here(p.prefix_len())).collect();
        short.sort_by_key(|(prefix, _)| prefix.prefix_len());
        for (prefix, answer) in short {
            let slot = base + low_byte(bits_of(prefix) >> shift);
            let slot_count = 1_usize << (8 * (byte + 1) - u32::from(prefix.prefix_len()));
            self.slots[slot..slot + slot_count].fill(*answer);
        }
        let long: Vec<(Ipv6Net, u32)> = prefixes
            .iter()
            .filter(|(p, _)| !ends_here(p.prefix_len()))
            .copied()
            .collect();
        let byte_of = |(prefix, _): &(Ipv6Net, u32)| low_byte(bits_of(prefix) >> shift);
        for group in long.chunk_by(|a, b| byte_of(a) == byte_of(b)) {
            let slot = base + byte_of(&group[0]);
            self.slots[slot] = self.compile(group, self.slots[slot]);
        }
        table | TABLE
    }

    #[inline]
    fn lookup(&self, address: u128) -> u32 {
        let mut slot = self.root;
        // Here a branch pays: nearly all prefixes are of one or two lengths, so it is guessed well, and choosing by
        // mask among 128-bit paths takes twice as long.
        while slot & TABLE != 0 {
            let number = (slot & !TABLE) as usize;
            let table = &self.tables[number];
            if address & table.path_mask != table.path {
                return table.otherwise;
            }
            slot = self.slots[number * SLOTS + low_byte(address >> table.shift)];
        }
        slot
    }
}

fn bits_of(prefix: &Ipv6Net) -> u128 {
    Ipv6Addr::to_bits(prefix.network())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::*;
    use crate::subnet::key_of;

    fn trie_of(prefixes: &[IpNet]) -> Trie {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (answer, prefix) in (1..).zip(prefixes) {
            match prefix {
                IpNet::V4(prefix) => v4.push((*prefix, answer)),
                IpNet::V6(prefix) => v6.push((*prefix, answer)),
            }
        }
        Trie::new(v4, v6)
    }

    fn linear_scan(prefixes: &[IpNet], address: IpAddr) -> u32 {
        let covering = (1..).zip(prefixes).filter(|(_, prefix)| prefix.contains(&address));
        covering
            .max_by_key(|(_, prefix)| prefix.prefix_len())
            .map_or(NO_ANSWER, |(answer, _)| answer)
    }

    /// Prefixes of few distinct bits, so that they overlap, share paths and end in every byte.
    fn prefix() -> impl Strategy<Value = IpNet> {
        let sparse = prop::sample::select(vec![0_u8, 1, 2, 127, 128, 255]);
        let v4 = (prop::collection::vec(sparse.clone(), 4), 0..=32_u8);
        let v6 = (prop::collection::vec(sparse, 16), 0..=128_u8);
        prop_oneof![
            v4.prop_map(|(b, length)| {
                let network = Ipv4Net::new(Ipv4Addr::new(b[0], b[1], b[2], b[3]), length)
                    .unwrap()
                    .trunc();
                IpNet::V4(network)
            }),
            v6.prop_map(|(bytes, length)| {
                let octets: [u8; 16] = bytes.try_into().unwrap();
                IpNet::V6(Ipv6Net::new(octets.into(), length).unwrap().trunc())
            }),
        ]
    }

    proptest! {
        #[test]
        fn trie_equals_linear_scan(
            prefixes in prop::collection::btree_set(prefix(), 0..60),
            noise in any::<[u8; 16]>(),
        ) {
            let prefixes: Vec<IpNet> = prefixes.into_iter().collect();
            let trie = trie_of(&prefixes);
            for prefix in &prefixes {
                // The ends of each prefix, the addresses beside them, and one within.
                let (first, last) = match prefix {
                    IpNet::V4(p) => (u128::from(p.network().to_bits()), u128::from(p.broadcast().to_bits())),
                    IpNet::V6(p) => (p.network().to_bits(), p.broadcast().to_bits()),
                };
                let within = first + (u128::from_be_bytes(noise) & (last - first));
                for bits in [first, last, first.wrapping_sub(1), last.wrapping_add(1), within] {
                    let address = match prefix {
                        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(low_32_bits(bits))),
                        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
                    };
                    // Such an IPv6 address is an IPv4 address in 16 bytes.
                    if matches!(address, IpAddr::V6(a) if a.to_ipv4_mapped().is_some()) {
                        continue;
                    }
                    prop_assert_eq!(trie.lookup(&key_of(address)), linear_scan(&prefixes, address), "{}", address);
                }
            }
        }
    }

    #[test]
    fn default_routes_answer_what_nothing_else_covers() {
        let prefixes: Vec<IpNet> = [
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/8",
            "10.1.2.128/25",
            "2001:db8::/32",
            "2001:db8:0:1::/64",
            "10.1.2.200/32",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let trie = trie_of(&prefixes);
        for (address, answer) in [
            ("192.0.2.1", 1),
            ("255.255.255.255", 1),
            ("fe80::1", 2),
            ("10.1.2.127", 3),
            ("10.1.2.128", 4),
            ("10.1.2.200", 7),
            ("2001:db8:0:2::", 5),
            ("2001:db8:0:1:ffff::", 6),
            ("2001:db9::", 2),
        ] {
            assert_eq!(trie.lookup(&key_of(address.parse().unwrap())), answer, "{address}");
        }
    }

    #[test]
    fn an_empty_trie_answers_nothing() {
        let trie = trie_of(&[]);
        assert_eq!(trie.lookup(&key_of("192.0.2.1".parse().unwrap())), NO_ANSWER);
        assert_eq!(trie.lookup(&key_of("2001:db8::1".parse().unwrap())), NO_ANSWER);
    }
}
