//! Which UDP datagrams of a capture are NetFlow.
//!
//! A port says little: exporters send to any. So a datagram is taken for NetFlow if its version is one of ours and its
//! header agrees with its length, or it has a clock that is set and begins as a message does; once one was, everything
//! between the same two sockets that has such a version is, as malformed messages are to be reported and not overlooked.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::frame::Datagram;

/// Ports at which any datagram with a version of ours is taken for NetFlow: IANA's for IPFIX, and those that exporters
/// and collectors use by default.
const USUAL_PORTS: [u16; 9] = [2055, 2056, 4432, 4739, 9025, 9555, 9991, 9995, 9996];

/// Clocks of exporters that have been set: 1995 to 2045. NetFlow is of 1996.
const CLOCKS: std::ops::Range<u32> = 788_918_400..2_366_841_600;

/// Records of v1, v5 or v7 that the largest datagram has room for.
const MOST_RECORDS: usize = 1_365;

/// What STUN, whose requests begin as v1 does, has where v1 has the uptime (RFC 8489 §5).
const STUN_COOKIE: u32 = 0x2112_A442;

/// Pairs of sockets that are remembered; beyond it each datagram has to convince by itself.
const PAIRS: usize = 65_536;

/// Tells NetFlow from other datagrams.
#[derive(Debug, Default)]
pub struct Detector {
    /// The only destination port to look at, whatever the datagrams look like.
    port: Option<u16>,
    pairs: HashSet<(SocketAddr, SocketAddr)>,
}

impl Detector {
    /// Looks at all ports, or takes whatever goes to one port.
    #[must_use]
    pub fn new(port: Option<u16>) -> Self {
        Self {
            port,
            pairs: HashSet::new(),
        }
    }

    /// Whether a datagram is NetFlow.
    pub fn is_netflow(&mut self, datagram: &Datagram<'_>) -> bool {
        if let Some(port) = self.port {
            return datagram.destination.port() == port;
        }
        let pair = (datagram.source, datagram.destination);
        let known = USUAL_PORTS.contains(&pair.1.port()) || self.pairs.contains(&pair);
        if known && matches!(version(&datagram.payload), Some(1 | 5 | 7 | 9 | 10)) {
            return true;
        }
        let convincing = is_plausible(&datagram.payload, datagram.sent);
        if convincing && self.pairs.len() < PAIRS {
            self.pairs.insert(pair);
        }
        convincing
    }
}

fn version(payload: &[u8]) -> Option<u16> {
    u16_at(payload, 0)
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u32_at(payload: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*payload.get(offset..)?.first_chunk()?))
}

/// Whether the header and the lengths within agree with the length of the payload as it was `sent`, of which the capture
/// may have less.
fn is_plausible(payload: &[u8], sent: usize) -> bool {
    let check = || match version(payload)? {
        1 => Some(u32_at(payload, 4)? != STUN_COOKIE && records_fit(payload, sent, 16, &[48, 52])),
        5 => Some(records_fit(payload, sent, 24, &[48]) || may_be_records(payload, sent, 24 + 48)),
        7 => Some(records_fit(payload, sent, 24, &[52]) || may_be_records(payload, sent, 24 + 52)),
        9 => {
            let sets = payload.get(20..)?;
            Some(sets_fit(sets) || (is_set(payload, 8) && begins_with_set(sets, sent.saturating_sub(20))))
        }
        10 => {
            let length = usize::from(u16_at(payload, 2)?);
            let sets = payload.get(16..)?;
            let stated = payload.get(16..length.min(payload.len())).unwrap_or_default();
            Some(
                sets_fit(stated)
                    || (is_set(payload, 4) && (length == sent || begins_with_set(sets, sent.saturating_sub(16)))),
            )
        }
        _ => None,
    };
    check().unwrap_or(false)
}

/// Whether the clock of a header, in seconds since 1970, is set.
fn is_set(payload: &[u8], offset: usize) -> bool {
    u32_at(payload, offset).is_some_and(|seconds| CLOCKS.contains(&seconds))
}

/// Whether there are as many records as the header counts, or some other whole number of them and a header whose clock
/// is set: exporters miscount.
fn records_fit(payload: &[u8], sent: usize, header: usize, records: &[usize]) -> bool {
    let count = u16_at(payload, 2).map_or(0, usize::from);
    let exact = |record: &usize| sent == header + count * record;
    let whole = |record: &usize| sent > header && (sent - header).is_multiple_of(*record);
    count > 0 && (records.iter().any(exact) || (records.iter().any(whole) && has_clock_and_count(payload)))
}

/// Whether there is a record at least, whatever follows, and a header whose clock is set.
fn may_be_records(payload: &[u8], sent: usize, shortest: usize) -> bool {
    sent >= shortest && has_clock_and_count(payload)
}

fn has_clock_and_count(payload: &[u8]) -> bool {
    let count = u16_at(payload, 2).map_or(0, usize::from);
    let nanoseconds = u32_at(payload, 12);
    (1..=MOST_RECORDS).contains(&count) && is_set(payload, 8) && nanoseconds.is_some_and(|rest| rest < 1_000_000_000)
}

/// Whether what stands first is the head of a set that the datagram had room for.
fn begins_with_set(sets: &[u8], sent: usize) -> bool {
    let head = u16_at(sets, 0).zip(u16_at(sets, 2));
    head.is_some_and(|(id, length)| matches!(id, 0..=3 | 256..) && (4..=sent).contains(&usize::from(length)))
}

/// Whether sets with ids that the versions have follow one another: to the end, or to where the capture cut the datagram
/// short, or to zeros with which some exporters fill up.
fn sets_fit(mut sets: &[u8]) -> bool {
    let mut whole = 0;
    while let (Some(id), Some(length)) = (u16_at(sets, 0), u16_at(sets, 2)) {
        let length = usize::from(length);
        if !matches!(id, 0..=3 | 256..) || length < 4 {
            break;
        }
        match sets.get(length..) {
            Some(rest) => sets = rest,
            None => return whole > 0,
        }
        whole += 1;
    }
    whole > 0 && (sets.len() < 4 || sets.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(port: u16, payload: &[u8]) -> Datagram<'_> {
        Datagram {
            source: "192.0.2.1:700".parse().unwrap(),
            destination: SocketAddr::new([192, 0, 2, 2].into(), port),
            payload: payload.into(),
            sent: payload.len(),
        }
    }

    /// Two sets, one of templates of v9, one of data.
    fn v9() -> Vec<u8> {
        let mut message = vec![0, 9, 0, 2];
        message.extend([0; 16]);
        message.extend([0, 0, 0, 12, 1, 0, 0, 1, 0, 1, 0, 4]);
        message.extend([1, 0, 0, 8, 0, 0, 0, 1]);
        message
    }

    #[test]
    fn messages_are_recognised_at_any_port() {
        let mut detector = Detector::new(None);
        let mut v5 = vec![0; 24 + 48];
        v5[1] = 5;
        v5[3] = 1;
        assert!(detector.is_netflow(&datagram(53, &v5)));
        assert!(detector.is_netflow(&datagram(53, &v9())));
        let mut ipfix = vec![0, 10, 0, 24];
        ipfix.extend([0; 12]);
        ipfix.extend([1, 0, 0, 8, 0, 0, 0, 1]);
        assert!(detector.is_netflow(&datagram(53, &ipfix)));
    }

    #[test]
    fn what_does_not_add_up_needs_a_known_sender() {
        let mut broken = v9();
        broken[23] = 200; // the first set's length
        let mut detector = Detector::new(None);
        assert!(!detector.is_netflow(&datagram(5000, &broken)));
        assert!(detector.is_netflow(&datagram(2055, &broken)), "a usual port");
        assert!(detector.is_netflow(&datagram(5000, &v9())));
        assert!(detector.is_netflow(&datagram(5000, &broken)), "it has sent a good one");
        assert!(!detector.is_netflow(&datagram(5000, b"GET / HTTP/1.1")));
    }

    #[test]
    fn what_exporters_and_captures_get_wrong_is_recognised_at_any_port() {
        let is_netflow = |payload: &[u8]| Detector::new(None).is_netflow(&datagram(5000, payload));
        let mut v5 = vec![0; 24 + 3 * 48];
        v5[1] = 5;
        v5[8..12].copy_from_slice(&1_700_000_000_u32.to_be_bytes());
        v5[3] = 9;
        assert!(is_netflow(&v5), "fewer records than the header counts");
        v5[3] = 2;
        assert!(is_netflow(&v5), "more records than the header counts");
        assert!(is_netflow(&v5[..24 + 2 * 48 + 7]), "a part of a record");
        assert!(!is_netflow(&v5[..24 + 47]), "not one record");
        v5[8] = 0xF0;
        assert!(!is_netflow(&v5), "and a clock that was never set so");

        let filled = [v9(), vec![0; 1200]].concat();
        assert!(is_netflow(&filled), "filled up with zeros");
        assert!(
            !is_netflow(&[v9(), vec![0, 200, 0, 4]].concat()),
            "anything behind the sets"
        );
        assert!(is_netflow(&v9()[..v9().len() - 2]), "the last set is cut short");
        assert!(!is_netflow(&v9()[..28]), "the first set is cut short");
    }

    #[test]
    fn messages_whose_clock_is_set_are_recognised_by_their_beginning() {
        let is_netflow = |payload: &[u8]| Detector::new(None).is_netflow(&datagram(5000, payload));
        let clock = 1_700_000_000_u32.to_be_bytes();
        let mut v9 = v9();
        v9[8..12].copy_from_slice(&clock);
        assert!(
            is_netflow(&[&v9[..], &[0, 200, 0, 4]].concat()),
            "anything behind the sets"
        );
        v9[3] = 0;
        assert!(is_netflow(&v9), "no record is counted");
        v9[23] = 200;
        assert!(!is_netflow(&v9), "a set longer than the datagram");

        let header = [&[0, 10, 0, 16], &clock[..], &[0; 8]].concat();
        assert!(is_netflow(&header), "no set");
        let reserved = [&[0, 10, 0, 24], &header[4..], &[0, 9, 0, 8, 0, 0, 0, 0]].concat();
        assert!(is_netflow(&reserved), "a set of an id without meaning first");
        let short = [&[0, 10, 0, 20], &header[4..], &[1, 0, 0, 8, 0, 0, 0, 0]].concat();
        assert!(is_netflow(&short), "a message that is longer than its header says");
    }

    #[test]
    fn what_the_capture_has_cut_short_is_recognised_by_the_length_that_was_sent() {
        let mut v5 = vec![0; 24 + 30 * 48];
        (v5[1], v5[3]) = (5, 30);
        let mut cut = datagram(5000, &v5[..200]);
        assert!(!Detector::new(None).is_netflow(&cut));
        cut.sent = v5.len();
        assert!(Detector::new(None).is_netflow(&cut));
    }

    #[test]
    fn requests_of_stun_are_not_taken_for_v1() {
        let mut request = vec![0, 1, 0, 44, 0x21, 0x12, 0xA4, 0x42, 0x5F, 0, 0, 0, 0x10];
        request.resize(20 + 44, 0);
        assert!(!Detector::new(None).is_netflow(&datagram(3478, &request)));
        request[4] = 0;
        assert!(Detector::new(None).is_netflow(&datagram(3478, &request)));
    }

    #[test]
    fn a_port_that_is_asked_for_is_all_netflow_and_no_other_is() {
        let mut detector = Detector::new(Some(7000));
        assert!(detector.is_netflow(&datagram(7000, b"anything")));
        assert!(!detector.is_netflow(&datagram(2055, &v9())));
    }
}
