//! Sends datagrams, many with one call to the kernel.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, sendmmsg, sendmsg};
use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams handed to the kernel at once.
pub(crate) const BATCH_DATAGRAMS: usize = 64;
/// What is asked for as send buffer; the kernel gives what it may.
const SEND_BUFFER_BYTES: usize = 4 << 20;
/// Most datagrams and bytes that the kernel cuts one send into: 64 segments (`UDP_MAX_SEGMENTS`) in 65,507 bytes.
const MAX_SEGMENTS: usize = 64;
const MAX_SEND_BYTES: usize = 65_507;
/// How long to wait when the kernel has no room, and how often.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(1);
const NO_ROOM_PAUSES: u32 = 1000;

/// Datagrams on their way to the kernel.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Their bytes.
    pub(crate) bytes: Vec<u8>,
    /// Where in `bytes` they are, in the order of sending.
    pub(crate) datagrams: Vec<Range<usize>>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }
}

/// A socket towards the collector.
pub(crate) struct Outlet {
    socket: UdpSocket,
    headers: MultiHeaders<()>,
    segmentation_offload: bool,
    /// Times that nothing listened.
    pub(crate) refused: u64,
}

impl Outlet {
    pub(crate) fn new(from: IpAddr, to: SocketAddr, segmentation_offload: bool) -> anyhow::Result<Self> {
        let socket =
            Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP)).context("opening a socket")?;
        // Less room only makes sending block sooner.
        let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
        socket
            .bind(&SocketAddr::new(from, 0).into())
            .with_context(|| format!("binding to {from}"))?;
        socket
            .connect(&to.into())
            .with_context(|| format!("connecting to {to}"))?;
        let headers = MultiHeaders::preallocate(BATCH_DATAGRAMS, None);
        Ok(Self {
            socket: socket.into(),
            headers,
            segmentation_offload,
            refused: 0,
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends a batch and empties it.
    pub(crate) fn send(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        let mut sent = 0;
        let mut pauses = 0;
        while sent < batch.datagrams.len() {
            let rest = &batch.datagrams[sent..];
            let result = if self.segmentation_offload {
                self.send_segments(&batch.bytes, rest)
            } else {
                self.send_many(&batch.bytes, rest)
            };
            match result {
                Ok(count) => sent += count,
                // An ICMP answer to an earlier datagram: nobody listens (yet). This one has not been tried.
                Err(Errno::ECONNREFUSED) => self.refused += 1,
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS | Errno::EAGAIN) if pauses < NO_ROOM_PAUSES => {
                    pauses += 1;
                    std::thread::sleep(NO_ROOM_PAUSE);
                }
                Err(Errno::EIO | Errno::EINVAL) if self.segmentation_offload => {
                    anyhow::bail!("this interface does not cut sends into datagrams: leave segmentation offload off")
                }
                Err(error) => return Err(error).context("sending"),
            }
        }
        batch.clear();
        Ok(())
    }

    fn send_many(&mut self, bytes: &[u8], datagrams: &[Range<usize>]) -> nix::Result<usize> {
        let slices: Vec<[IoSlice<'_>; 1]> = datagrams
            .iter()
            .take(BATCH_DATAGRAMS)
            .map(|datagram| [IoSlice::new(&bytes[datagram.clone()])])
            .collect();
        let addresses = [None::<()>; BATCH_DATAGRAMS];
        let fd = self.socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut self.headers, slices.iter(), addresses, [], MsgFlags::empty())?;
        Ok(sent.count())
    }

    /// Sends the first datagrams that are of one length and lie side by side.
    fn send_segments(&self, bytes: &[u8], datagrams: &[Range<usize>]) -> nix::Result<usize> {
        let Some(first) = datagrams.first() else { return Ok(0) };
        let mut end = first.start;
        let alike = datagrams.iter().take(MAX_SEGMENTS).take_while(|datagram| {
            let fits =
                datagram.start == end && datagram.len() == first.len() && datagram.end - first.start <= MAX_SEND_BYTES;
            end = if fits { datagram.end } else { end };
            fits
        });
        let count = alike.count();
        let segment_bytes = u16::try_from(first.len()).map_err(|_| Errno::EMSGSIZE)?;
        let controls = [ControlMessage::UdpGsoSegments(&segment_bytes)];
        let controls = if count > 1 { &controls[..] } else { &[] };
        let slices = [IoSlice::new(&bytes[first.start..end])];
        sendmsg::<()>(self.socket.as_raw_fd(), &slices, controls, MsgFlags::empty(), None)?;
        Ok(count)
    }
}
