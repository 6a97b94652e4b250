//! Rows from the kernel's socket diagnostics (`sock_diag(7)`): one request with the exact
//! four-tuple is one hash look-up, whatever the number of sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, sendto, socket_with,
};

use super::Row;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP_ESTABLISHED: u8 = 1;

/// The loopback interface has this number in every network namespace. Naming it finds sockets that
/// are bound to it as well as those bound to none.
const LOOPBACK_INTERFACE: u32 = 1;

/// `nlmsghdr`, then `inet_diag_req_v2`.
const REQUEST_SIZE: usize = 16 + 56;

/// Answers are 124 bytes here; attributes may be added by later kernels.
const ANSWER_ROOM: usize = 2048;

/// Stale answers skipped before the look-up is given up: none is expected, since the kernel answers
/// within the send.
const MAX_STALE_ANSWERS: usize = 8;

/// A netlink socket for look-ups.
#[derive(Debug)]
pub(crate) struct SockDiag {
    /// Held for one request and its answer, which never block.
    socket: Mutex<OwnedFd>,
    sequence: AtomicU32,
}

impl SockDiag {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(netlink::SOCK_DIAG),
        )?;
        Ok(Self {
            socket: Mutex::new(socket),
            sequence: AtomicU32::new(1),
        })
    }

    /// The row of the socket whose own address is `client` and whose peer is `server`.
    pub(crate) fn look_up(
        &self,
        client: SocketAddr,
        server: SocketAddr,
    ) -> io::Result<Option<Row>> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let request = request(client, server, sequence)?;
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&*socket, &request, SendFlags::empty(), &kernel)?;
        let mut room = [0; ANSWER_ROOM];
        for _ in 0..MAX_STALE_ANSWERS {
            let (_, length, from) = recvfrom(&*socket, &mut room, RecvFlags::DONTWAIT)?;
            let from_kernel = from
                .and_then(|address| SocketAddrNetlink::try_from(address).ok())
                .is_some_and(|address| address.pid() == 0);
            let answer = room.get(..length).ok_or(io::ErrorKind::InvalidData)?;
            if from_kernel && u32_at(answer, 8) == Some(sequence) {
                return read_answer(answer, client, server);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn request(client: SocketAddr, server: SocketAddr, sequence: u32) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(REQUEST_SIZE);
    // Fits: a constant below 100.
    out.extend_from_slice(&(REQUEST_SIZE as u32).to_ne_bytes());
    out.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&0u32.to_ne_bytes());
    let (family, local, remote) = match (client.ip(), server.ip()) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            let mut room = [[0; 16]; 2];
            for (target, ip) in room.iter_mut().zip([local, remote]) {
                for (byte, octet) in target.iter_mut().zip(ip.octets()) {
                    *byte = octet;
                }
            }
            (AF_INET, room[0], room[1])
        }
        (IpAddr::V6(local), IpAddr::V6(remote)) => (AF_INET6, local.octets(), remote.octets()),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    // Family, protocol, no extensions, padding, every state.
    out.extend_from_slice(&[family, IPPROTO_TCP, 0, 0]);
    out.extend_from_slice(&u32::MAX.to_ne_bytes());
    out.extend_from_slice(&client.port().to_be_bytes());
    out.extend_from_slice(&server.port().to_be_bytes());
    out.extend_from_slice(&local);
    out.extend_from_slice(&remote);
    out.extend_from_slice(&LOOPBACK_INTERFACE.to_ne_bytes());
    // No cookie: any socket with this tuple.
    out.extend_from_slice(&u64::MAX.to_ne_bytes());
    Ok(out)
}

fn read_answer(answer: &[u8], client: SocketAddr, server: SocketAddr) -> io::Result<Option<Row>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = u16_at(answer, 4).ok_or_else(invalid)?;
    if kind == NLMSG_ERROR {
        let code = u32_at(answer, 16).ok_or_else(invalid)?.cast_signed();
        let errno = io::Error::from_raw_os_error(-code);
        return if errno.kind() == io::ErrorKind::NotFound {
            Ok(None)
        } else {
            Err(errno)
        };
    }
    if kind != SOCK_DIAG_BY_FAMILY {
        return Err(invalid());
    }
    // `inet_diag_msg`: family, state, timer, retransmits; ports, addresses, interface, cookie;
    // expiry, two queues, user, inode.
    let body = answer.get(16..).ok_or_else(invalid)?;
    let &[family, state, ..] = body else {
        return Err(invalid());
    };
    let address = |port_at: usize, ip_at: usize| {
        let port = u16::from_be_bytes(body.get(port_at..port_at + 2)?.try_into().ok()?);
        let ip = if family == AF_INET {
            IpAddr::from(<[u8; 4]>::try_from(body.get(ip_at..ip_at + 4)?).ok()?)
        } else {
            IpAddr::from(<[u8; 16]>::try_from(body.get(ip_at..ip_at + 16)?).ok()?).to_canonical()
        };
        Some(SocketAddr::new(ip, port))
    };
    // Without a connection of this tuple the kernel answers with the listening socket.
    if address(4, 8) != Some(canonical(client)) || address(6, 24) != Some(canonical(server)) {
        return Ok(None);
    }
    let uid = u32_at(body, 64).ok_or_else(invalid)?;
    let inode = u32_at(body, 68).ok_or_else(invalid)?;
    Ok(Some(Row {
        established: state == TCP_ESTABLISHED,
        inode: inode.into(),
        uid,
    }))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
