//! Who is at the other end of a loopback TCP connection: the row of the client's own socket in the
//! system's tables, looked up by the exact four-tuple. It does not decide what follows.

#[cfg(target_os = "linux")]
mod procfs;
#[cfg(target_os = "linux")]
mod sock_diag;

use std::net::SocketAddr;

/// The user that the system reports when it cannot name the real one in this namespace.
const OVERFLOW_UID: u32 = 65534;

/// A row of the socket tables, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) established: bool,
    /// 0 when no process holds the socket any more; the user is then reported as 0 too.
    pub(crate) inode: u64,
    pub(crate) uid: u32,
}

/// Why a connection is not known to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotOurs {
    #[error("the connection is in no socket table")]
    NoRow,
    #[error("the client's socket is closed or half closed")]
    NotEstablished,
    #[error("no process holds the client's socket")]
    NoHolder,
    #[error("the client's user has no name here")]
    OverflowUser,
    #[error("the client is user {0}")]
    OtherUser(u32),
    #[error("the socket tables cannot be read")]
    Unreadable,
}

/// Where the rows come from, chosen once by looking up a connection of our own.
#[derive(Debug)]
pub(crate) enum Owners {
    #[cfg(target_os = "linux")]
    SockDiag(sock_diag::SockDiag, u32),
    #[cfg(target_os = "linux")]
    ProcFs(u32),
    /// The platform does not tell, so the token is required.
    CannotTell,
}

impl Owners {
    /// Tries the sources on a real connection: an absent kernel module answers like an absent row.
    #[cfg(target_os = "linux")]
    pub(crate) fn probe() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let Ok((client, server)) = connection_of_our_own() else {
            return Self::CannotTell;
        };
        if let Ok(source) = sock_diag::SockDiag::open()
            && source
                .look_up(client.1, server.1)
                .is_ok_and(|row| judge(row, uid).is_ok())
        {
            return Self::SockDiag(source, uid);
        }
        if procfs::look_up(client.1, server.1).is_ok_and(|row| judge(row, uid).is_ok()) {
            return Self::ProcFs(uid);
        }
        Self::CannotTell
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn probe() -> Self {
        Self::CannotTell
    }

    pub(crate) const fn can_tell(&self) -> bool {
        !matches!(self, Self::CannotTell)
    }

    /// Checks one accepted connection. `client` is its peer, `server` our own address.
    pub(crate) fn check(&self, client: SocketAddr, server: SocketAddr) -> Result<(), NotOurs> {
        match self {
            #[cfg(target_os = "linux")]
            Self::SockDiag(_, uid) | Self::ProcFs(uid) => judge(
                self.look_up(client, server)
                    .map_err(|_| NotOurs::Unreadable)?,
                *uid,
            ),
            Self::CannotTell => Err(NotOurs::Unreadable),
        }
    }

    /// Whether some process still holds the client's socket: tells a client that only finished
    /// sending from one that went away. `None` if that cannot be told at a small cost.
    pub(crate) fn is_held(&self, client: SocketAddr, server: SocketAddr) -> Option<bool> {
        match self {
            #[cfg(target_os = "linux")]
            Self::SockDiag(source, _) => match source.look_up(client, server) {
                Ok(row) => Some(row.is_some_and(|row| row.inode != 0)),
                Err(_) => None,
            },
            _ => None,
        }
    }

    #[cfg(target_os = "linux")]
    fn look_up(&self, client: SocketAddr, server: SocketAddr) -> std::io::Result<Option<Row>> {
        match self {
            Self::SockDiag(source, _) => source.look_up(client, server),
            Self::ProcFs(_) => procfs::look_up(client, server),
            Self::CannotTell => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }
}

/// The rule itself: established, held by a process, and ours.
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "there are no rows to judge")
)]
fn judge(row: Option<Row>, our_uid: u32) -> Result<(), NotOurs> {
    let row = row.ok_or(NotOurs::NoRow)?;
    if !row.established {
        Err(NotOurs::NotEstablished)
    } else if row.inode == 0 {
        Err(NotOurs::NoHolder)
    } else if row.uid == OVERFLOW_UID {
        Err(NotOurs::OverflowUser)
    } else if row.uid != our_uid {
        Err(NotOurs::OtherUser(row.uid))
    } else {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
type End = (std::net::TcpStream, SocketAddr);

#[cfg(target_os = "linux")]
fn connection_of_our_own() -> std::io::Result<(End, End)> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (server, client_address) = listener.accept()?;
    let server_address = server.local_addr()?;
    Ok(((client, client_address), (server, server_address)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
