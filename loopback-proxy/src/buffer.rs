//! A byte buffer that is filled at one end and emptied at the other, allocated at its first use
//! and given back when the connection is idle. It knows nothing of HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The first allocation: a request head or a small answer fits, and 1,024 idle connections that
/// wait for their next head hold 8 MiB.
const FIRST_ALLOCATION: usize = 8 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read took all the room that it was offered, so more room is worth having.
    eager: bool,
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Gives the memory back if nothing is held, keeping at most the first allocation.
    pub(crate) fn release(&mut self) {
        self.shrink(FIRST_ALLOCATION);
        self.eager = false;
    }

    /// Gives the memory back if nothing is held and there is more than `limit`.
    pub(crate) fn shrink(&mut self, limit: usize) {
        if self.is_empty() && self.data.len() > limit {
            self.data = Vec::new();
        }
    }

    /// Reads once, so that at most `limit` bytes are held. `Ok(0)` is the end of the input.
    /// The caller makes sure that there is room: `len() < limit`.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.len() < limit, "a read into no room looks like an end");
        self.make_room(limit);
        let room = (self.data.len() - self.end).min(limit - self.len());
        let spare = self.data.get_mut(self.end..self.end + room);
        let mut target = ReadBuf::new(spare.unwrap_or_default());
        ready!(Pin::new(reader).poll_read(cx, &mut target))?;
        let count = target.filled().len();
        self.end += count;
        self.eager = count == room;
        Poll::Ready(Ok(count))
    }

    fn make_room(&mut self, limit: usize) {
        let held = self.len();
        let tail = self.data.len() - self.end;
        let cheap = tail < self.data.len() / 4 && held <= self.data.len() / 2;
        if self.start > 0 && (cheap || (tail == 0 && self.data.len() >= limit)) {
            self.data.copy_within(self.start..self.end, 0);
            self.start = 0;
            self.end = held;
        }
        let full = self.end == self.data.len();
        let worth = self.eager && self.data.len() < limit;
        if full || worth {
            let size = (self.data.len() * 4).clamp(FIRST_ALLOCATION, limit.max(FIRST_ALLOCATION));
            // Zeroed memory comes untouched from the system when it is large; resizing in place
            // would write it all.
            let mut grown = vec![0; size.max(held + 1)];
            if let Some(target) = grown.get_mut(..held) {
                target.copy_from_slice(self.bytes());
            }
            self.data = grown;
            self.start = 0;
            self.end = held;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::task::Waker;

    fn fill(buffer: &mut Buffer, mut source: &[u8], limit: usize) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match buffer.poll_fill(&mut cx, &mut source, limit) {
            Poll::Ready(Ok(count)) => count,
            other => panic!("a slice is always ready: {other:?}"),
        }
    }

    #[test]
    fn it_never_holds_more_than_the_limit_and_returns_its_memory() {
        let mut buffer = Buffer::default();
        let source = vec![7; 2_000_000];
        while buffer.len() < 500_000 {
            fill(&mut buffer, &source, 500_000);
        }
        assert_eq!(buffer.len(), 500_000);
        buffer.consume(500_000);
        buffer.release();
        assert_eq!(buffer.data.len(), 0);
    }

    #[test]
    fn it_grows_when_reads_fill_it_although_it_is_emptied_each_time() {
        let mut buffer = Buffer::default();
        let source = vec![7; 100_000];
        for _ in 0..4 {
            fill(&mut buffer, &source, 65_536);
            let held = buffer.len();
            buffer.consume(held);
        }
        assert_eq!(buffer.data.len(), 65_536);
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            steps in proptest::collection::vec((1usize..40_000, 0usize..50_000), 1..60),
        ) {
            let mut buffer = Buffer::default();
            let mut written: u64 = 0;
            let mut read: u64 = 0;
            for (take_in, take_out) in steps {
                if buffer.len() < 40_000 {
                    let source: Vec<u8> =
                        (0..take_in as u64).map(|i| ((written + i) % 251) as u8).collect();
                    written += fill(&mut buffer, &source, 40_000) as u64;
                }
                let take_out = take_out.min(buffer.len());
                for byte in &buffer.bytes()[..take_out] {
                    prop_assert_eq!(*byte, (read % 251) as u8);
                    read += 1;
                }
                buffer.consume(take_out);
            }
            prop_assert_eq!(written - read, buffer.len() as u64);
        }
    }
}
