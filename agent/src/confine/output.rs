//! What a program writes, with a bound: its beginning and its end.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Read at once.
const CHUNK: usize = 8 << 10;

/// Takes everything and keeps the first and the last `limit / 2` bytes.
#[derive(Debug)]
pub struct Kept {
    half: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// As text; bytes that are none are replaced, a gap says how much it leaves out.
    pub text: String,
    /// Whether something was left out.
    pub truncated: bool,
    /// Bytes that were written.
    pub total: u64,
}

impl Kept {
    /// Keeps at most this many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            half: limit / 2,
            head: Vec::new(),
            tail: VecDeque::new(),
            total: 0,
        }
    }

    /// Reads to the end. What came before it is dropped stays.
    pub async fn fill(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else {
            return;
        };
        let mut chunk = vec![0; CHUNK];
        // An error of a pipe is its end.
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            self.take(&chunk[..count]);
        }
    }

    /// What came.
    #[must_use]
    pub fn collected(self) -> Collected {
        let kept = (self.head.len() + self.tail.len()) as u64;
        let left_out = self.total - kept;
        let (head, tail) = (self.head, Vec::from(self.tail));
        let text = if left_out == 0 {
            String::from_utf8_lossy(&[head, tail].concat()).into_owned()
        } else {
            let (head, tail) = (
                String::from_utf8_lossy(&head),
                String::from_utf8_lossy(&tail),
            );
            format!("{head}\n[… {left_out} bytes left out …]\n{tail}")
        };
        Collected {
            text,
            truncated: left_out > 0,
            total: self.total,
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.half - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        bytes = rest;
        self.tail.extend(bytes);
        let over = self.tail.len().saturating_sub(self.half);
        self.tail.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_fits_is_kept_whole_and_of_what_does_not_the_beginning_and_the_end() {
        let mut kept = Kept::new(8);
        kept.fill(Some(&b"12345678"[..])).await;
        assert_eq!(kept.collected().text, "12345678");
        let mut kept = Kept::new(8);
        kept.fill(Some(&b"1234-----5678"[..])).await;
        let collected = kept.collected();
        assert_eq!(collected.text, "1234\n[… 5 bytes left out …]\n5678");
        assert!(collected.truncated);
        assert_eq!(collected.total, 13);
    }
}
