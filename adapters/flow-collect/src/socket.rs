//! A UDP socket read in batches.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{RcvBufForce, RxqOvfl, UdpGroSegment};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// Messages read by one system call.
const BATCH: usize = 16;
/// Room for one message: with receive offload the kernel hands over up to 64 KiB of datagrams of one sender at once.
const ROOM_BYTES: usize = 1 << 16;
/// Distance from one message's room to the next. Not a power of two: the heads of all messages, which is all there is
/// without offload, would fall on the same few lines of the cache and evict one another.
const STRIDE_BYTES: usize = ROOM_BYTES + 25 * 64;

/// How a receive buffer turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveBuffer {
    /// Bytes asked for.
    pub wanted: usize,
    /// Bytes granted by the kernel (half of what it accounts for, as it doubles the value for its own overhead).
    pub granted: usize,
}

/// A bound UDP socket that counts what the kernel dropped.
#[derive(Debug)]
pub(crate) struct UdpReceiver {
    socket: Socket,
    /// Room for `BATCH` messages.
    buffers: Vec<u8>,
    local: SocketAddr,
    receive_buffer: ReceiveBuffer,
    dropped_seen: u32,
}

/// What one system call brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Datagrams handed to the caller.
    pub(crate) datagrams: usize,
    /// Datagrams that the kernel dropped on this socket since the last call, for want of buffer space.
    pub(crate) dropped: u32,
    /// Whether the socket had no more.
    pub(crate) was_all: bool,
}

impl UdpReceiver {
    /// Binds `address`. An IPv6 wildcard address receives IPv4 too.
    ///
    /// # Errors
    /// If the address is in use or not of this host, or the system refuses a socket.
    pub(crate) fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if let SocketAddr::V6(v6) = address {
            socket.set_only_v6(!v6.ip().is_unspecified())?;
        }
        // The forced form passes the system's limit, and needs the right to administer the network.
        if setsockopt(&socket, RcvBufForce, &buffer_bytes).is_err() {
            socket.set_recv_buffer_size(buffer_bytes)?;
        }
        let receive_buffer = ReceiveBuffer {
            wanted: buffer_bytes,
            granted: socket.recv_buffer_size()? / 2,
        };
        setsockopt(&socket, RxqOvfl, &1)?;
        // Receive offload needs Linux 5.0; without it every datagram comes on its own, which is only slower.
        if let Err(error) = setsockopt(&socket, UdpGroSegment, &true) {
            tracing::debug!(%error, "no UDP receive offload");
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        let buffers = vec![0; STRIDE_BYTES * BATCH];
        Ok(Self {
            socket,
            buffers,
            local,
            receive_buffer,
            dropped_seen: 0,
        })
    }

    /// The address it is bound to, with the port that the system chose if 0 was asked for.
    #[must_use]
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// How large the receive buffer turned out.
    #[must_use]
    pub(crate) fn receive_buffer(&self) -> ReceiveBuffer {
        self.receive_buffer
    }

    /// Waits until one of the sockets has a datagram, or patience is over.
    pub(crate) fn wait(sockets: &[Self], patience: Duration) {
        let mut waiting: Vec<_> = sockets
            .iter()
            .map(|socket| PollFd::new(socket.socket.as_fd(), PollFlags::POLLIN))
            .collect();
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        // A failed or interrupted wait only means that the sockets are looked at sooner.
        let _ = poll(&mut waiting, patience);
    }

    /// Hands over the datagrams that are there, each with its sender.
    ///
    /// # Errors
    /// If the socket fails; that nothing is there is no error.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(&[u8], SocketAddr)) -> io::Result<Received> {
        // Made anew for each call, as the kernel shortens the control buffers in place.
        let space = nix::cmsg_space!(i32, u32);
        let mut headers: MultiHeaders<SockaddrStorage> = MultiHeaders::preallocate(BATCH, Some(space));
        let mut slices: Vec<_> = self
            .buffers
            .chunks_exact_mut(STRIDE_BYTES)
            .map(|room| [IoSliceMut::new(room)])
            .collect();
        let fd = self.socket.as_raw_fd();
        let results = match recvmmsg(fd, &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(results) => results,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => {
                return Ok(Received {
                    was_all: true,
                    ..Received::default()
                });
            }
            Err(error) => return Err(error.into()),
        };
        let mut received = Received::default();
        let mut messages = 0;
        for message in results {
            messages += 1;
            let mut segment = message.bytes.max(1);
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::UdpGroSegments(bytes) => {
                        segment = usize::try_from(bytes).unwrap_or(segment).max(1)
                    }
                    ControlMessageOwned::RxqOvfl(total) => {
                        received.dropped += total.wrapping_sub(self.dropped_seen);
                        self.dropped_seen = total;
                    }
                    _ => {}
                }
            }
            let Some(sender) = message.address.as_ref().and_then(socket_address) else {
                continue;
            };
            if message.bytes == 0 {
                each(&[], sender);
                received.datagrams += 1;
            }
            for bytes in message.iovs() {
                for datagram in bytes.chunks(segment) {
                    each(datagram, sender);
                    received.datagrams += 1;
                }
            }
        }
        received.was_all = messages < BATCH;
        Ok(received)
    }
}

/// The sender's address, with IPv4 in its own form also when it came through an IPv6 socket.
fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::from(*v4)));
    }
    let v6 = SocketAddrV6::from(*address.as_sockaddr_in6()?);
    Some(match v6.ip().to_ipv4_mapped() {
        Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, v6.port())),
        None => SocketAddr::V6(v6),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn receive_all(receiver: &mut UdpReceiver, count: usize) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut all = Vec::new();
        while all.len() < count {
            UdpReceiver::wait(std::slice::from_ref(receiver), Duration::from_secs(20));
            let received = receiver
                .receive(|bytes, from| all.push((bytes.to_vec(), from)))
                .unwrap();
            assert!(received.datagrams > 0, "nothing came in time");
        }
        all
    }

    #[test]
    fn datagrams_come_whole_with_their_sender() {
        for (listen, local) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let mut receiver = UdpReceiver::bind(listen.parse().unwrap(), 1 << 16).unwrap();
            let sender = UdpSocket::bind(local).unwrap();
            for i in 0..40u8 {
                sender.send_to(&vec![i; usize::from(i) * 30], receiver.local()).unwrap();
            }
            let all = receive_all(&mut receiver, 40);
            for (i, (bytes, from)) in (0u8..).zip(all) {
                assert_eq!(
                    (bytes, from),
                    (vec![i; usize::from(i) * 30], sender.local_addr().unwrap())
                );
            }
        }
    }

    #[test]
    fn an_ipv6_wildcard_socket_names_ipv4_senders_as_ipv4() {
        let mut receiver = UdpReceiver::bind("[::]:0".parse().unwrap(), 1 << 16).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"flow", ("127.0.0.1", receiver.local().port())).unwrap();
        assert_eq!(
            receive_all(&mut receiver, 1),
            [(b"flow".to_vec(), sender.local_addr().unwrap())]
        );
    }

    #[test]
    fn what_the_kernel_drops_is_counted() {
        let mut receiver = UdpReceiver::bind("127.0.0.1:0".parse().unwrap(), 1 << 12).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sent = 500;
        for _ in 0..sent {
            sender.send_to(&[0; 1400], receiver.local()).unwrap();
        }
        let (mut kept, mut dropped) = (0, 0);
        loop {
            let received = receiver.receive(|_, _| ()).unwrap();
            (kept, dropped) = (kept + received.datagrams, dropped + received.dropped as usize);
            if received.datagrams == 0 {
                break;
            }
        }
        // The count rides on the next datagram that is kept.
        sender.send_to(&[0; 1400], receiver.local()).unwrap();
        UdpReceiver::wait(std::slice::from_ref(&receiver), Duration::from_secs(20));
        let last = receiver.receive(|_, _| ()).unwrap();
        (kept, dropped) = (kept + last.datagrams, dropped + last.dropped as usize);
        assert_eq!(kept + dropped, sent + 1);
        assert!(dropped > 0);
    }
}
