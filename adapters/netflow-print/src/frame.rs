//! From a captured frame to the UDP datagram in it, through whatever headers lie between.
//!
//! Link types: Ethernet (also VLAN, QinQ, MPLS, PPPoE), Linux cooked (both forms), raw IP, BSD loopback, PPP, Cisco HDLC. Above:
//! IPv4 and IPv6 with extension headers and fragments; IP in IP, GRE, and the tunnels in which switches and clouds mirror
//! traffic, ERSPAN, VXLAN and Geneve, are followed.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::capture::Frame;
use crate::fragments::{Fragment, Fragments, PacketKey};

/// Headers that may lie within one another in a frame; more is taken for an attempt to keep us busy.
const NESTING_LIMIT: u8 = 16;

/// The UDP ports of VXLAN (RFC 7348 §5) and Geneve (RFC 8926 §3.3).
const VXLAN_PORT: u16 = 4789;
const GENEVE_PORT: u16 = 6081;

/// A UDP datagram found in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram<'f> {
    /// Where it came from.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// Its payload, as far as it was captured.
    pub payload: Cow<'f, [u8]>,
    /// Bytes of the payload as it was sent.
    pub sent: usize,
}

/// Finds UDP datagrams; holds the fragments of those that are not complete yet.
#[derive(Debug, Default)]
pub struct Extractor {
    fragments: Fragments,
}

/// The addresses of an IP packet and what it carries.
struct Packet<'f> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: Cow<'f, [u8]>,
}

impl Extractor {
    /// The UDP datagram in a frame, if there is one and this frame completes it.
    pub fn datagram<'f>(&mut self, frame: &Frame<'f>) -> Option<Datagram<'f>> {
        self.link(frame.link, frame.bytes, frame.time_ms)
    }

    fn link<'f>(&mut self, link: i32, bytes: &'f [u8], now_ms: i64) -> Option<Datagram<'f>> {
        match link {
            // LINKTYPE_NULL and LINKTYPE_LOOP: an address family, whose number and byte order depend on the system.
            0 | 108 => self.ip(bytes.get(4..)?, now_ms, 0),
            // LINKTYPE_ETHERNET
            1 => self.ethernet(bytes, now_ms, 0),
            // LINKTYPE_RAW, LINKTYPE_IPV4, LINKTYPE_IPV6, and the numbers that some systems write for raw IP.
            12 | 14 | 101 | 228 | 229 => self.ip(bytes, now_ms, 0),
            // LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2
            113 => self.network(u16_at(bytes, 14)?, bytes.get(16..)?, now_ms, 0),
            276 => self.network(u16_at(bytes, 0)?, bytes.get(20..)?, now_ms, 0),
            // LINKTYPE_PPP, with or without address and control; LINKTYPE_PPP_HDLC.
            9 | 50 => {
                let start = if bytes.first() == Some(&0xFF) { 2 } else { 0 };
                self.ppp(bytes.get(start..)?, now_ms, 0)
            }
            // LINKTYPE_C_HDLC
            104 => self.network(u16_at(bytes, 2)?, bytes.get(4..)?, now_ms, 0),
            _ => None,
        }
    }

    fn ethernet<'f>(&mut self, bytes: &'f [u8], now_ms: i64, depth: u8) -> Option<Datagram<'f>> {
        self.network(u16_at(bytes, 12)?, bytes.get(14..)?, now_ms, depth)
    }

    /// What an EtherType announces.
    fn network<'f>(&mut self, kind: u16, bytes: &'f [u8], now_ms: i64, depth: u8) -> Option<Datagram<'f>> {
        let depth = deeper(depth)?;
        match kind {
            0x0800 | 0x86DD => self.ip(bytes, now_ms, depth),
            // VLAN tags, of a customer or a provider; 0x9100 and 0x9200 were used before 802.1ad.
            0x8100 | 0x88A8 | 0x9100 | 0x9200 => self.network(u16_at(bytes, 2)?, bytes.get(4..)?, now_ms, depth),
            0x8847 | 0x8848 => self.mpls(bytes, now_ms, depth),
            // PPPoE session
            0x8864 => self.ppp(bytes.get(6..)?, now_ms, depth),
            // A length: LLC and SNAP, which then name the EtherType.
            0..=1500 if bytes.starts_with(&[0xAA, 0xAA, 3]) => {
                self.network(u16_at(bytes, 6)?, bytes.get(8..)?, now_ms, depth)
            }
            // Transparent Ethernet bridging, in GRE.
            0x6558 => self.ethernet(bytes, now_ms, depth),
            _ => None,
        }
    }

    fn ppp<'f>(&mut self, bytes: &'f [u8], now_ms: i64, depth: u8) -> Option<Datagram<'f>> {
        match u16_at(bytes, 0)? {
            0x0021 | 0x0057 => self.ip(bytes.get(2..)?, now_ms, depth),
            0x0281 | 0x0283 => self.mpls(bytes.get(2..)?, now_ms, depth),
            _ => None,
        }
    }

    /// MPLS does not say what follows the last label: IP by its first four bits, else an Ethernet pseudowire.
    fn mpls<'f>(&mut self, mut bytes: &'f [u8], now_ms: i64, depth: u8) -> Option<Datagram<'f>> {
        loop {
            let label = bytes.first_chunk::<4>()?;
            bytes = bytes.get(4..)?;
            if label[2] & 1 == 1 {
                break;
            }
        }
        match bytes.first()? >> 4 {
            // Or an Ethernet address that begins so.
            4 | 6 => self
                .ip(bytes, now_ms, depth)
                .or_else(|| self.ethernet(bytes, now_ms, depth)),
            // A control word comes first.
            0 => self.ethernet(bytes.get(4..)?, now_ms, depth),
            _ => self.ethernet(bytes, now_ms, depth),
        }
    }

    fn ip<'f>(&mut self, bytes: &'f [u8], now_ms: i64, depth: u8) -> Option<Datagram<'f>> {
        let depth = deeper(depth)?;
        let packet = match bytes.first()? >> 4 {
            4 => self.ipv4(bytes, now_ms)?,
            6 => self.ipv6(bytes, now_ms)?,
            _ => return None,
        };
        match (packet.protocol, packet.payload) {
            (17, payload) => {
                let datagram = udp(packet.source, packet.destination, payload)?;
                // The flag says that the network's number is valid, as it always is; what follows it is reserved.
                let is_vxlan = |inner: &[u8]| inner.iter().zip([8, 0]).all(|(byte, wanted)| *byte == wanted);
                // Version 0 and the length of options in words, flags, then what it carries.
                let is_geneve = |inner: &[u8]| {
                    let carries_packets = u16_at(inner, 2).is_none_or(|kind| matches!(kind, 0x6558 | 0x0800 | 0x86DD));
                    carries_packets && inner.first().is_none_or(|first| first >> 6 == 0)
                };
                match &datagram.payload {
                    Cow::Borrowed(inner) if datagram.destination.port() == VXLAN_PORT && is_vxlan(inner) => {
                        self.ethernet(inner.get(8..)?, now_ms, depth)
                    }
                    Cow::Borrowed(inner) if datagram.destination.port() == GENEVE_PORT && is_geneve(inner) => {
                        let options = usize::from(inner.first()? & 0x3F) * 4;
                        self.network(u16_at(inner, 2)?, inner.get(8 + options..)?, now_ms, depth)
                    }
                    _ => Some(datagram),
                }
            }
            // IP in IP; GRE. Those that were put together from fragments are not followed further.
            (4 | 41, Cow::Borrowed(inner)) => self.ip(inner, now_ms, depth),
            (47, Cow::Borrowed(inner)) => self.gre(inner, now_ms, depth),
            _ => None,
        }
    }

    fn gre<'f>(&mut self, bytes: &'f [u8], now_ms: i64, depth: u8) -> Option<Datagram<'f>> {
        let flags = u16_at(bytes, 0)?;
        if flags & 0x0007 != 0 {
            return None; // version 1 is PPTP
        }
        // Checksum, key and sequence number take four bytes each.
        let options = (flags & 0x8000).count_ones() + (flags & 0x3000).count_ones();
        let inner = bytes.get(4 + 4 * options as usize..)?;
        let depth = deeper(depth)?;
        match u16_at(bytes, 2)? {
            // ERSPAN of type I has no header of its own, that of type II has eight bytes and comes with a sequence number.
            0x88BE if flags & 0x1000 == 0 => self.ethernet(inner, now_ms, depth),
            0x88BE => self.ethernet(inner.get(8..)?, now_ms, depth),
            // Type III: twelve bytes, and eight more if their last bit says so.
            0x22EB => {
                let more = if inner.get(11)? & 1 == 1 { 8 } else { 0 };
                self.ethernet(inner.get(12 + more..)?, now_ms, depth)
            }
            kind => self.network(kind, inner, now_ms, depth),
        }
    }

    fn ipv4<'f>(&mut self, bytes: &'f [u8], now_ms: i64) -> Option<Packet<'f>> {
        let header = bytes.get(..20)?;
        let header_length = usize::from(header[0] & 0x0F) * 4;
        // A length of 0 is left to the network card to fill in.
        let length = match usize::from(u16_at(header, 2)?) {
            0 => bytes.len(),
            length => length.min(bytes.len()),
        };
        let payload = bytes.get(header_length.max(20)..length)?;
        let source = IpAddr::V4(Ipv4Addr::from(*header.get(12..16)?.first_chunk()?));
        let destination = IpAddr::V4(Ipv4Addr::from(*header.get(16..20)?.first_chunk()?));
        let protocol = header[9];
        let place = u16_at(header, 6)?;
        let fragment = Fragment {
            offset: usize::from(place & 0x1FFF) * 8,
            more: place & 0x2000 != 0,
            bytes: payload,
        };
        let payload = if fragment.more || fragment.offset > 0 {
            let id = u32::from(u16_at(header, 4)?);
            Cow::Owned(self.fragments.add(
                PacketKey {
                    source,
                    destination,
                    id,
                    protocol,
                },
                fragment,
                now_ms,
            )?)
        } else {
            Cow::Borrowed(payload)
        };
        Some(Packet {
            source,
            destination,
            protocol,
            payload,
        })
    }

    fn ipv6<'f>(&mut self, bytes: &'f [u8], now_ms: i64) -> Option<Packet<'f>> {
        let header = bytes.get(..40)?;
        let length = match usize::from(u16_at(header, 4)?) {
            0 => bytes.len(),
            length => (40 + length).min(bytes.len()),
        };
        let source = IpAddr::V6(Ipv6Addr::from(*header.get(8..24)?.first_chunk::<16>()?));
        let destination = IpAddr::V6(Ipv6Addr::from(*header.get(24..40)?.first_chunk::<16>()?));
        let mut protocol = header[6];
        let mut rest = bytes.get(40..length)?;
        for _ in 0..NESTING_LIMIT {
            match protocol {
                // Hop-by-hop, routing, destination options, mobility, HIP, shim6
                0 | 43 | 60 | 135 | 139 | 140 => {
                    protocol = *rest.first()?;
                    rest = rest.get((usize::from(*rest.get(1)?) + 1) * 8..)?;
                }
                // Authentication
                51 => {
                    protocol = *rest.first()?;
                    rest = rest.get((usize::from(*rest.get(1)?) + 2) * 4..)?;
                }
                44 => {
                    let next = *rest.first()?;
                    let place = u16_at(rest, 2)?;
                    let id = u32::from_be_bytes(*rest.get(4..8)?.first_chunk()?);
                    let fragment = Fragment {
                        offset: usize::from(place & 0xFFF8),
                        more: place & 1 != 0,
                        bytes: rest.get(8..)?,
                    };
                    if fragment.offset == 0 && !fragment.more {
                        protocol = next; // an atomic fragment, RFC 6946
                        rest = fragment.bytes;
                        continue;
                    }
                    let key = PacketKey {
                        source,
                        destination,
                        id,
                        protocol: next,
                    };
                    let payload = Cow::Owned(self.fragments.add(key, fragment, now_ms)?);
                    return Some(Packet {
                        source,
                        destination,
                        protocol: next,
                        payload,
                    });
                }
                _ => {
                    return Some(Packet {
                        source,
                        destination,
                        protocol,
                        payload: Cow::Borrowed(rest),
                    });
                }
            }
        }
        None
    }
}

fn udp(source: IpAddr, destination: IpAddr, bytes: Cow<'_, [u8]>) -> Option<Datagram<'_>> {
    let source = SocketAddr::new(source, u16_at(&bytes, 0)?);
    let destination = SocketAddr::new(destination, u16_at(&bytes, 2)?);
    // 0 is a jumbogram (RFC 2675), less than the header is nonsense: then the packet's own length counts.
    let stated = match usize::from(u16_at(&bytes, 4)?) {
        0..8 => bytes.len(),
        stated => stated,
    };
    let length = stated.min(bytes.len());
    let payload = match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(8..length)?),
        Cow::Owned(bytes) => Cow::Owned(bytes.get(8..length)?.to_vec()),
    };
    Some(Datagram {
        source,
        destination,
        payload,
        sent: stated - 8,
    })
}

fn deeper(depth: u8) -> Option<u8> {
    (depth < NESTING_LIMIT).then_some(depth + 1)
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &[u8] = b"NetFlow!";

    fn udp_segment() -> Vec<u8> {
        let mut segment = vec![0x30, 0x39, 0x08, 0x07, 0, 16, 0, 0]; // 12345 → 2055, 16 bytes
        segment.extend(PAYLOAD);
        segment
    }

    /// An IPv4 packet from 192.0.2.1 to 192.0.2.2, its fragment field, and the payload.
    fn ipv4(protocol: u8, place: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + payload.len()).unwrap();
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(place.to_be_bytes());
        packet.extend([64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend(payload);
        packet
    }

    fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        packet.extend([next, 64]);
        packet.extend(Ipv6Addr::LOCALHOST.octets());
        packet.extend(Ipv6Addr::LOCALHOST.octets());
        packet.extend(payload);
        packet
    }

    fn ethernet(kind: &[u8], packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        frame.extend(kind);
        frame.extend(packet);
        frame
    }

    fn payload(link: i32, bytes: &[u8]) -> Option<Vec<u8>> {
        let found = Extractor::default().datagram(&Frame {
            time_ms: 0,
            link,
            bytes,
        })?;
        assert_eq!((found.source.port(), found.destination.port()), (12345, 2055));
        Some(found.payload.into_owned())
    }

    #[test]
    fn every_way_of_wrapping_is_undone() {
        let v4 = ipv4(17, 0, &udp_segment());
        let v6 = ipv6(17, &udp_segment());
        // Hop-by-hop options, then destination options, before UDP.
        let extended = ipv6(
            0,
            &[&[60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0][..], &udp_segment()].concat(),
        );
        let inner = ethernet(&[0x08, 0x00], &v4);
        let erspan_3 = [
            &[0x10, 0, 0x22, 0xEB, 0, 0, 0, 1][..],
            &[0x20; 11],
            &[1],
            &[0; 8],
            &inner,
        ]
        .concat();
        let vxlan = [
            &[0x12, 0x34, 0x12, 0xB5, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 42, 0][..],
            &inner,
        ]
        .concat();
        let geneve = [
            &[
                0x12, 0x34, 0x17, 0xC1, 0, 0, 0, 0, 1, 0, 0x65, 0x58, 0, 0, 42, 0, 1, 2, 3, 0,
            ][..],
            &inner,
        ]
        .concat();
        let mut begins_like_ip = ethernet(&[0x08, 0x00], &v4);
        begins_like_ip[0] = 0x40;
        let frames: [(&str, i32, Vec<u8>); 23] = [
            (
                "Ethernet, with padding",
                1,
                [ethernet(&[0x08, 0x00], &v4), vec![0; 9]].concat(),
            ),
            ("IPv6", 1, ethernet(&[0x86, 0xDD], &v6)),
            ("extension headers", 1, ethernet(&[0x86, 0xDD], &extended)),
            ("VLAN", 1, ethernet(&[0x81, 0x00, 0, 42, 0x08, 0x00], &v4)),
            (
                "QinQ",
                1,
                ethernet(&[0x88, 0xA8, 0, 10, 0x81, 0x00, 0, 20, 0x08, 0x00], &v4),
            ),
            ("MPLS", 1, ethernet(&[0x88, 0x47, 0, 1, 0x00, 64, 0, 2, 0x01, 64], &v4)),
            (
                "MPLS pseudowire",
                1,
                ethernet(&[0x88, 0x47, 0, 2, 0x01, 64, 0, 0, 0, 0], &ethernet(&[0x86, 0xDD], &v6)),
            ),
            (
                "PPPoE",
                1,
                ethernet(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 46, 0x00, 0x21], &v4),
            ),
            (
                "cooked",
                113,
                [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00][..], &v4].concat(),
            ),
            (
                "cooked 2",
                276,
                [
                    &[0x86, 0xDD, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..],
                    &v6,
                ]
                .concat(),
            ),
            ("raw", 101, v4.clone()),
            ("raw IPv6", 229, v6.clone()),
            ("null", 0, [&[2, 0, 0, 0][..], &v4].concat()),
            ("loop", 108, [&[0, 0, 0, 24][..], &v6].concat()),
            ("IP in IP", 101, ipv4(41, 0, &v6)),
            (
                "GRE with key",
                101,
                ipv4(47, 0, &[&[0x20, 0, 0x08, 0x00, 0, 0, 0, 7][..], &v4].concat()),
            ),
            ("PPP", 9, [&[0xFF, 0x03, 0x00, 0x21][..], &v4].concat()),
            (
                "ERSPAN I",
                101,
                ipv4(47, 0, &[&[0, 0, 0x88, 0xBE][..], &inner].concat()),
            ),
            (
                "ERSPAN II",
                101,
                ipv4(
                    47,
                    0,
                    &[&[0x10, 0, 0x88, 0xBE, 0, 0, 0, 1][..], &[0x10; 8], &inner].concat(),
                ),
            ),
            ("ERSPAN III", 101, ipv4(47, 0, &erspan_3)),
            ("VXLAN", 101, ipv4(17, 0, &vxlan)),
            ("Geneve", 101, ipv4(17, 0, &geneve)),
            (
                "MPLS pseudowire without a control word",
                1,
                ethernet(&[0x88, 0x47, 0, 2, 0x01, 64], &begins_like_ip),
            ),
        ];
        for (name, link, frame) in frames {
            assert_eq!(payload(link, &frame).as_deref(), Some(PAYLOAD), "{name}");
            for cut in 0..frame.len() {
                // Never more than was captured, and no panic.
                let found = payload_if_any(link, &frame[..cut]);
                assert!(
                    found.is_none_or(|found| PAYLOAD.starts_with(&found)),
                    "{name} cut at {cut}"
                );
            }
        }
    }

    fn payload_if_any(link: i32, bytes: &[u8]) -> Option<Vec<u8>> {
        let found = Extractor::default().datagram(&Frame {
            time_ms: 0,
            link,
            bytes,
        })?;
        Some(found.payload.into_owned())
    }

    #[test]
    fn fragments_are_put_together() {
        let segment = udp_segment();
        let mut extractor = Extractor::default();
        let second = ipv4(17, 1, &segment[8..]);
        let first = ipv4(17, 0x2000, &segment[..8]);
        assert_eq!(
            extractor.datagram(&Frame {
                time_ms: 0,
                link: 101,
                bytes: &second
            }),
            None
        );
        let found = extractor
            .datagram(&Frame {
                time_ms: 1,
                link: 101,
                bytes: &first,
            })
            .unwrap();
        assert_eq!(&*found.payload, PAYLOAD);

        let fragment = |place: u8, part: &[u8]| ipv6(44, &[&[17, 0, 0, place, 0, 0, 0, 9], part].concat());
        let (first, second) = (fragment(1, &segment[..8]), fragment(8, &segment[8..]));
        assert_eq!(
            extractor.datagram(&Frame {
                time_ms: 2,
                link: 101,
                bytes: &first
            }),
            None
        );
        let found = extractor
            .datagram(&Frame {
                time_ms: 3,
                link: 101,
                bytes: &second,
            })
            .unwrap();
        assert_eq!(&*found.payload, PAYLOAD);
    }

    #[test]
    fn endless_nesting_is_given_up() {
        let mut packet = ipv4(17, 0, &udp_segment());
        for _ in 0..100 {
            packet = ipv4(4, 0, &packet);
        }
        assert_eq!(payload_if_any(101, &packet), None);
    }
}
