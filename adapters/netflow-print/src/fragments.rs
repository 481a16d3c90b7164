//! Puts the fragments of an IP packet together, within bounds.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// Packets in the making; beyond it the oldest is given up.
const PACKETS: usize = 1024;

/// How long the fragments of a packet are waited for (RFC 8200 §4.5: 60 s).
const WAIT_MS: i64 = 60_000;

/// The longest packet that fragments can make up.
const PACKET_BYTES: usize = 65_535;

/// What the fragments of one packet have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PacketKey {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) id: u32,
    pub(crate) protocol: u8,
}

/// A part of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment<'f> {
    pub(crate) offset: usize,
    pub(crate) more: bool,
    pub(crate) bytes: &'f [u8],
}

#[derive(Debug, Default)]
struct Packet {
    first_ms: i64,
    bytes: Vec<u8>,
    /// Bytes there are, as ranges in order that do not touch.
    ranges: Vec<(usize, usize)>,
    length: Option<usize>,
}

/// Packets in the making.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    packets: HashMap<PacketKey, Packet>,
    order: VecDeque<PacketKey>,
}

impl Fragments {
    /// Takes a fragment; gives the packet's payload back when it is complete.
    pub(crate) fn add(&mut self, key: PacketKey, fragment: Fragment<'_>, now_ms: i64) -> Option<Vec<u8>> {
        let end = fragment
            .offset
            .checked_add(fragment.bytes.len())
            .filter(|end| *end <= PACKET_BYTES)?;
        if self
            .packets
            .get(&key)
            .is_some_and(|packet| now_ms.saturating_sub(packet.first_ms) > WAIT_MS)
        {
            self.forget(&key);
        }
        if !self.packets.contains_key(&key) {
            if self.order.len() >= PACKETS
                && let Some(oldest) = self.order.pop_front()
            {
                self.packets.remove(&oldest);
            }
            self.order.push_back(key);
        }
        let packet = self.packets.entry(key).or_insert_with(|| Packet {
            first_ms: now_ms,
            ..Packet::default()
        });
        if packet.bytes.len() < end {
            packet.bytes.resize(end, 0);
        }
        packet
            .bytes
            .get_mut(fragment.offset..end)?
            .copy_from_slice(fragment.bytes);
        if !fragment.more {
            packet.length = Some(end);
        }
        packet.ranges.push((fragment.offset, end));
        packet.ranges.sort_unstable();
        packet.ranges.dedup_by(|next, kept| {
            let touches = next.0 <= kept.1;
            if touches {
                kept.1 = kept.1.max(next.1);
            }
            touches
        });
        let whole = packet.length?;
        if packet
            .ranges
            .first()
            .is_none_or(|range| range.0 != 0 || range.1 < whole)
        {
            return None;
        }
        let mut packet = self.forget(&key)?;
        packet.bytes.truncate(whole);
        Some(packet.bytes)
    }

    fn forget(&mut self, key: &PacketKey) -> Option<Packet> {
        self.order.retain(|other| other != key);
        self.packets.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn key(id: u32) -> PacketKey {
        PacketKey {
            source: Ipv4Addr::LOCALHOST.into(),
            destination: Ipv4Addr::BROADCAST.into(),
            id,
            protocol: 17,
        }
    }

    #[test]
    fn fragments_in_any_order_make_the_packet() {
        let parts = [
            Fragment {
                offset: 0,
                more: true,
                bytes: &[0, 1],
            },
            Fragment {
                offset: 2,
                more: true,
                bytes: &[2, 3],
            },
            Fragment {
                offset: 4,
                more: false,
                bytes: &[4],
            },
        ];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut fragments = Fragments::default();
            assert_eq!(fragments.add(key(1), parts[order[0]], 0), None);
            assert_eq!(fragments.add(key(1), parts[order[1]], 0), None);
            assert_eq!(fragments.add(key(2), parts[order[2]], 0), None, "of another packet");
            assert_eq!(fragments.add(key(1), parts[order[2]], 0), Some(vec![0, 1, 2, 3, 4]));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut fragments = Fragments::default();
        for id in 0..5000 {
            assert_eq!(
                fragments.add(
                    key(id),
                    Fragment {
                        offset: 0,
                        more: true,
                        bytes: &[1]
                    },
                    0
                ),
                None
            );
        }
        assert_eq!((fragments.packets.len(), fragments.order.len()), (PACKETS, PACKETS));
        assert_eq!(
            fragments.add(
                key(1),
                Fragment {
                    offset: 65_534,
                    more: false,
                    bytes: &[1, 2]
                },
                0
            ),
            None
        );
    }
}
