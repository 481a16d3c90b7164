//! What the frames of a queue say: the vocabulary that the collector and the stream processor share.

use crate::Error;

/// Bytes before the body of a record. Eight, so that a bundle's columns stay aligned in the frame.
const PREFIX_BYTES: usize = 8;

const BUNDLE: u8 = 1;
const HEARTBEAT: u8 = 2;
const SESSION: u8 = 3;

/// A record that was read from the queue, borrowed from its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'f> {
    /// A sealed bundle of one probe, in the format of the flow store.
    Bundle(&'f [u8]),
    /// The collector's clock: no probe of the session will send flows of an earlier time.
    Heartbeat {
        /// Milliseconds since 1970.
        watermark_ms: i64,
    },
    /// A collector began (or began anew) to write: these are its probes, any other is gone until a later session.
    Session {
        /// Milliseconds since 1970: the collector's clock.
        start_ms: i64,
        /// Names of the probes.
        probes: Vec<&'f str>,
    },
}

/// Why a frame is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame is no queue record: {0}")]
pub struct NoRecord(&'static str);

impl<'f> Record<'f> {
    /// Reads a frame.
    ///
    /// # Errors
    /// If the bytes are not what [`bundle_prefix`], [`heartbeat`] or [`session`] make.
    pub fn read(frame: &'f [u8]) -> Result<Self, NoRecord> {
        let (prefix, body) = frame
            .split_at_checked(PREFIX_BYTES)
            .ok_or(NoRecord("shorter than its prefix"))?;
        let [kind, 0, 0, 0, 0, 0, 0, 0] = *prefix else {
            return Err(NoRecord("prefix of another format"));
        };
        match kind {
            BUNDLE => Ok(Self::Bundle(body)),
            HEARTBEAT => {
                let body = body.try_into().map_err(|_| NoRecord("heartbeat of another length"))?;
                Ok(Self::Heartbeat {
                    watermark_ms: i64::from_le_bytes(body),
                })
            }
            SESSION => {
                let (start, names) = body.split_first_chunk().ok_or(NoRecord("session cut short"))?;
                let names = std::str::from_utf8(names).map_err(|_| NoRecord("session is not UTF-8"))?;
                Ok(Self::Session {
                    start_ms: i64::from_le_bytes(*start),
                    probes: names.split('\n').filter(|name| !name.is_empty()).collect(),
                })
            }
            _ => Err(NoRecord("unknown kind")),
        }
    }
}

/// Where the body of a bundle's frame begins.
#[must_use]
pub const fn bundle_offset() -> usize {
    PREFIX_BYTES
}

/// The prefix to append before the bytes of a bundle.
#[must_use]
pub const fn bundle_prefix() -> [u8; PREFIX_BYTES] {
    [BUNDLE, 0, 0, 0, 0, 0, 0, 0]
}

/// The frame of a heartbeat.
#[must_use]
pub fn heartbeat(watermark_ms: i64) -> Vec<u8> {
    [[HEARTBEAT, 0, 0, 0, 0, 0, 0, 0], watermark_ms.to_le_bytes()].concat()
}

/// The frame of a session. Names with a line feed are refused.
///
/// # Errors
/// [`Error::Name`] for a name that is empty or has a line feed.
pub fn session(start_ms: i64, probes: &[&str]) -> Result<Vec<u8>, Error> {
    let mut frame = [[SESSION, 0, 0, 0, 0, 0, 0, 0], start_ms.to_le_bytes()].concat();
    for name in probes {
        if name.is_empty() || name.contains('\n') {
            return Err(Error::Name {
                name: (*name).to_owned(),
            });
        }
        frame.extend_from_slice(name.as_bytes());
        frame.push(b'\n');
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_read_as_they_were_written() {
        let bundle = [&bundle_prefix()[..], b"arrow"].concat();
        assert_eq!(Record::read(&bundle), Ok(Record::Bundle(b"arrow")));
        assert_eq!(Record::read(&heartbeat(-5)), Ok(Record::Heartbeat { watermark_ms: -5 }));
        let frame = session(7, &["north", "süd"]).unwrap();
        assert_eq!(
            Record::read(&frame),
            Ok(Record::Session {
                start_ms: 7,
                probes: vec!["north", "süd"]
            })
        );
        assert!(session(7, &["two\nlines"]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Record::read(&bytes);
        }
    }
}
