//! The client's side of one connection, TCP or Unix. It makes sure that a connection which is
//! dropped without having been closed on purpose is seen as broken off, never as a clean end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
    /// What was sent is whole, so dropping is an orderly end.
    complete: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    pub(crate) const fn tcp(stream: TcpStream) -> Self {
        Self {
            socket: Socket::Tcp(stream),
            complete: true,
        }
    }

    pub(crate) const fn unix(stream: UnixStream) -> Self {
        Self {
            socket: Socket::Unix(stream),
            complete: true,
        }
    }

    /// From here on dropping the client breaks the connection off.
    pub(crate) const fn begin(&mut self) {
        self.complete = false;
    }

    pub(crate) const fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A Unix socket has no reset; its reader sees an end that the framing contradicts.
        if let (false, Socket::Tcp(stream)) = (self.complete, &self.socket)
            && let Err(error) = sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO))
        {
            tracing::debug!(%error, "a connection could not be reset");
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has nothing to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
