//! A minimal HTTP/1.1 client: one connection, one request at a time, bodies counted and dropped.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Read buffer of a connection, in bytes: large enough that bulk is not bound by calls to `read`.
const BUFFER: usize = 256 * 1024;
/// Most headers of an answer.
const MAX_HEADERS: usize = 64;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        Self::with_buffer(address, BUFFER).await
    }

    /// A client for small answers; many of them are open at once.
    pub(crate) async fn connect_small(address: SocketAddr) -> Result<Self> {
        Self::with_buffer(address, 4096).await
    }

    async fn with_buffer(address: SocketAddr, size: usize) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; size],
            start: 0,
            end: 0,
        })
    }

    /// Sends a request without a body and reads the whole answer. Gives the size of its body; any
    /// status but 200 and 201 is an error, so that refusals are never counted as answers.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<u64> {
        self.stream
            .write_all(request)
            .await
            .context("sending a request")?;
        self.answer().await
    }

    /// Sends a request with a body of `size` bytes and reads the whole answer.
    pub(crate) async fn upload(&mut self, head: &[u8], size: u64) -> Result<u64> {
        self.stream
            .write_all(head)
            .await
            .context("sending a head")?;
        let block = vec![0x5a_u8; BUFFER];
        let mut left = size;
        while left > 0 {
            let part = &block[..BUFFER.min(usize::try_from(left).unwrap_or(usize::MAX))];
            if let Err(error) = self.stream.write_all(part).await {
                // A refusal may already be there; it says more than the broken pipe.
                self.answer().await?;
                return Err(error).context("sending a body");
            }
            left -= part.len() as u64;
        }
        self.answer().await
    }

    async fn answer(&mut self) -> Result<u64> {
        let (status, framing) = self.head().await?;
        if status != 200 && status != 201 {
            let text = String::from_utf8_lossy(&self.buffer[self.start..self.end]);
            bail!(
                "status {status}: {}",
                text.chars().take(200).collect::<String>()
            );
        }
        match framing {
            Framing::Length(length) => {
                self.skip(length).await?;
                Ok(length)
            }
            Framing::Chunked => self.chunks().await,
            Framing::UntilEnd => {
                let mut total = 0;
                loop {
                    total += (self.end - self.start) as u64;
                    self.start = self.end;
                    if self.fill().await? == 0 {
                        return Ok(total);
                    }
                }
            }
        }
    }

    async fn head(&mut self) -> Result<(u16, Framing)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            let bytes = &self.buffer[self.start..self.end];
            if let httparse::Status::Complete(length) =
                response.parse(bytes).context("an answer's head")?
            {
                let status = response.code.unwrap_or_default();
                let framing = framing(response.headers)?;
                self.start += length;
                return Ok((status, framing));
            }
            if self.fill().await? == 0 {
                bail!("the connection ended before an answer");
            }
        }
    }

    async fn skip(&mut self, mut left: u64) -> Result<()> {
        loop {
            let taken = left.min((self.end - self.start) as u64);
            self.start += taken as usize;
            left -= taken;
            if left == 0 {
                return Ok(());
            }
            if self.fill().await? == 0 {
                bail!("the connection ended {left} bytes before the end of a body");
            }
        }
    }

    async fn chunks(&mut self) -> Result<u64> {
        let mut total = 0;
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(digits, 16).with_context(|| format!("chunk size {line:?}"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(total);
            }
            self.skip(size + 2).await?;
            total += size;
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            let bytes = &self.buffer[self.start..self.end];
            if let Some(at) = bytes.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&bytes[..at]).into_owned();
                self.start += at + 2;
                return Ok(line);
            }
            if self.fill().await? == 0 {
                bail!("the connection ended inside a chunked body");
            }
        }
    }

    /// Reads more; 0 at the end.
    async fn fill(&mut self) -> Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                bail!("a head or line above {} bytes", self.end);
            }
        }
        let read = self
            .stream
            .read(&mut self.buffer[self.end..])
            .await
            .context("reading an answer")?;
        self.end += read;
        Ok(read)
    }
}

fn framing(headers: &[httparse::Header<'_>]) -> Result<Framing> {
    let find = |name: &str| {
        headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
    };
    if find("transfer-encoding").is_some() {
        return Ok(Framing::Chunked);
    }
    match find("content-length") {
        Some(header) => {
            let text = std::str::from_utf8(header.value).context("content-length")?;
            Ok(Framing::Length(text.parse().context("content-length")?))
        }
        None => Ok(Framing::UntilEnd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &'static [u8]) -> Result<u64> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 16];
            stream.read_exact(&mut request[..4]).await.unwrap();
            // One byte at a time: no boundary may depend on how the answer arrives.
            for byte in answer {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let client = async {
            Client::connect_small(address)
                .await
                .unwrap()
                .exchange(b"GET ")
                .await
        };
        tokio::join!(server, client).1
    }

    #[tokio::test]
    async fn a_body_with_a_length_is_counted() {
        assert_eq!(
            answered(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
                .await
                .unwrap(),
            5
        );
    }

    #[tokio::test]
    async fn a_chunked_body_is_counted_without_its_framing() {
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(answered(answer).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_body_that_ends_with_the_connection_is_counted() {
        assert_eq!(answered(b"HTTP/1.1 200 OK\r\n\r\nhello").await.unwrap(), 5);
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_and_a_short_body_too() {
        assert!(
            answered(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
                .await
                .is_err()
        );
        assert!(
            answered(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell")
                .await
                .is_err()
        );
    }
}
