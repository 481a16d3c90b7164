//! The flow key: source, destination, time, then the flow's place, as bytes whose order is the order of the values.
//!
//! ```text
//! +-----------------+-----------------+---------------+------------------+---------------+-------------+
//! | source 16 bytes | destination 16  | time 8, big   | probe, escaped,  | bundle 8, big | row 4, big  |
//! |                 |                 | endian, sign  | ends with 0 0    | endian        | endian      |
//! |                 |                 | bit flipped   |                  |               |             |
//! +-----------------+-----------------+---------------+------------------+---------------+-------------+
//! ```
//!
//! The first forty bytes are the classic `srcIp-dstIp-TS`, so a scan by pair, or by pair and time, is a scan of a prefix.
//! The place after them keeps two flows of one pair in one millisecond apart. A zero byte in a probe's name is written
//! as `0 255`, so that no name is a prefix of another's encoding.

use crate::error::Error;

/// Length of source, destination and time, the part that a scan by pair uses.
pub const PREFIX_LEN: usize = 40;

const SIGN: u64 = 1 << 63;
const ESCAPED_ZERO: [u8; 2] = [0, 0xff];
const END: [u8; 2] = [0, 0];

/// What names a flow for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// The flow's `time`.
    pub time_ms: i64,
    /// The probe's name.
    pub probe: String,
    /// Sequence number of the bundle.
    pub bundle: u64,
    /// Row within the bundle.
    pub row: u32,
}

impl FlowKey {
    /// Appends the key's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.source);
        out.extend_from_slice(&self.destination);
        out.extend_from_slice(&(self.time_ms.cast_unsigned() ^ SIGN).to_be_bytes());
        for &byte in self.probe.as_bytes() {
            match byte {
                0 => out.extend_from_slice(&ESCAPED_ZERO),
                byte => out.push(byte),
            }
        }
        out.extend_from_slice(&END);
        out.extend_from_slice(&self.bundle.to_be_bytes());
        out.extend_from_slice(&self.row.to_be_bytes());
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] with the offset at which the bytes stop being a key.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut rest = Rest { bytes, at: 0 };
        let source = rest.take::<16>()?;
        let destination = rest.take::<16>()?;
        let time_ms = (u64::from_be_bytes(rest.take()?) ^ SIGN).cast_signed();
        let probe_at = rest.at;
        let mut name = Vec::new();
        loop {
            match rest.take::<1>()? {
                [0] => match rest.take::<1>()? {
                    [0] => break,
                    [0xff] => name.push(0),
                    _ => {
                        return Err(Error::Key {
                            offset: rest.at - 1,
                            what: "unknown escape",
                        });
                    }
                },
                [byte] => name.push(byte),
            }
        }
        let probe = String::from_utf8(name).map_err(|error| Error::Key {
            offset: probe_at + error.utf8_error().valid_up_to(),
            what: "probe is not UTF-8",
        })?;
        let bundle = u64::from_be_bytes(rest.take()?);
        let row = u32::from_be_bytes(rest.take()?);
        if rest.at < bytes.len() {
            return Err(Error::Key {
                offset: rest.at,
                what: "bytes after the row",
            });
        }
        Ok(Self {
            source,
            destination,
            time_ms,
            probe,
            bundle,
            row,
        })
    }
}

struct Rest<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Rest<'_> {
    fn take<const LEN: usize>(&mut self) -> Result<[u8; LEN], Error> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<LEN>());
        let taken = taken.ok_or(Error::Key {
            offset: self.at,
            what: "cut short",
        })?;
        self.at += LEN;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = FlowKey> {
        (
            any::<bool>(),
            any::<bool>(),
            -2..2i64,
            "[\0a\u{1}é]{0,3}",
            0..3u64,
            0..3u32,
        )
            .prop_map(|(source, destination, time_ms, probe, bundle, row)| FlowKey {
                source: [u8::from(source); 16],
                destination: [u8::from(destination); 16],
                time_ms,
                probe,
                bundle,
                row,
            })
    }

    fn bytes(key: &FlowKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn order_of_bytes_is_order_of_values(a in keys(), b in keys()) {
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
        }

        #[test]
        fn a_key_comes_back(key in keys()) {
            prop_assert_eq!(FlowKey::decode(&bytes(&key)).unwrap(), key);
        }

        #[test]
        fn any_bytes_are_a_key_or_an_error(bytes in prop::collection::vec(0..3u8, 0..70)) {
            if let Ok(key) = FlowKey::decode(&bytes) {
                let mut again = Vec::new();
                key.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn a_key_cut_anywhere_is_refused_at_that_place() {
        let key = FlowKey {
            source: [1; 16],
            destination: [2; 16],
            time_ms: 5,
            probe: "p".to_owned(),
            bundle: 1,
            row: 2,
        };
        let bytes = bytes(&key);
        for len in 0..bytes.len() {
            assert!(
                matches!(FlowKey::decode(&bytes[..len]), Err(Error::Key { offset, what: "cut short" }) if offset <= len)
            );
        }
    }
}
