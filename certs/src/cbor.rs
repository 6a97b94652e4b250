//! A strict reader and a writer for the small part of CBOR (RFC 8949) that documents use:
//! unsigned integers, byte and text strings, arrays, and maps with ascending integer keys.
//!
//! What the reader accepts has exactly one encoding, so an accepted body re-encodes to itself.

use crate::error::FormError;

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

/// Reads a body from left to right and refuses at the first fault.
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], FormError> {
        let end = self.at.checked_add(len).ok_or(FormError::BodyTruncated)?;
        let bytes = self
            .input
            .get(self.at..end)
            .ok_or(FormError::BodyTruncated)?;
        self.at = end;
        Ok(bytes)
    }

    /// Reads the head of an item of the major type `want` and returns its argument.
    fn head(&mut self, want: u8) -> Result<u64, FormError> {
        let offset = self.at;
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        match (major, info) {
            (TAG, _) => return Err(FormError::Tag { offset }),
            (SIMPLE, _) => return Err(FormError::FloatOrSimple { offset }),
            (_, 28..=30) => return Err(FormError::MalformedHead { offset }),
            (_, 31) => return Err(FormError::Indefinite { offset }),
            _ if major != want => return Err(FormError::WrongType { offset }),
            _ => {}
        }
        if info < 24 {
            return Ok(u64::from(info));
        }
        let mut value = 0;
        for byte in self.take(1 << (info - 24))? {
            value = value << 8 | u64::from(*byte);
        }
        let least = match info {
            24 => 24,
            25 => 1 << 8,
            26 => 1 << 16,
            _ => 1 << 32,
        };
        if value < least {
            return Err(FormError::NotShortest { offset });
        }
        Ok(value)
    }

    pub(crate) fn uint(&mut self) -> Result<u64, FormError> {
        self.head(UINT)
    }

    pub(crate) fn uint32(&mut self) -> Result<u32, FormError> {
        let offset = self.at;
        u32::try_from(self.uint()?).map_err(|_| FormError::OutOfRange { offset })
    }

    fn string(&mut self, major: u8) -> Result<&'a [u8], FormError> {
        let len = self.head(major)?;
        self.take(usize::try_from(len).map_err(|_| FormError::BodyTruncated)?)
    }

    pub(crate) fn text(&mut self) -> Result<&'a [u8], FormError> {
        self.string(TEXT)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FormError> {
        let offset = self.at;
        let bytes = self.string(BYTES)?;
        bytes.try_into().map_err(|_| FormError::WrongLength {
            offset,
            expected: N,
            got: bytes.len(),
        })
    }

    /// Reads the head of an array of `min..=max` items.
    pub(crate) fn array(&mut self, min: usize, max: usize) -> Result<usize, FormError> {
        let count = self.head(ARRAY)?;
        usize::try_from(count)
            .ok()
            .filter(|count| (min..=max).contains(count))
            .ok_or(FormError::Count { count, min, max })
    }

    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// Reads the head of the document's map. Known keys are `0..=last`.
    pub(crate) fn map(
        &mut self,
        last: u64,
        reserved: &'static [u64],
    ) -> Result<MapReader<'_, 'a>, FormError> {
        let left = self.head(MAP)?;
        Ok(MapReader {
            reader: self,
            left,
            last,
            reserved,
            previous: None,
            peeked: None,
        })
    }
}

/// Walks the document's map. Every known key must be asked for in ascending order.
pub(crate) struct MapReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    left: u64,
    last: u64,
    reserved: &'static [u64],
    previous: Option<u64>,
    peeked: Option<u64>,
}

impl<'a> MapReader<'_, 'a> {
    /// Reads the required key `want`; the caller then reads its value.
    pub(crate) fn key(&mut self, want: u64) -> Result<&mut Reader<'a>, FormError> {
        match self.optional_key(want)? {
            true => Ok(self.reader),
            false => Err(FormError::MissingKey { key: want }),
        }
    }

    /// Reads the value of key 0, the version of the body.
    pub(crate) fn version(&mut self) -> Result<(), FormError> {
        match self.key(0)?.uint()? {
            1 => Ok(()),
            version => Err(FormError::UnsupportedBodyVersion { version }),
        }
    }

    /// Whether the next key is `want`; if not, it is kept for the next call.
    pub(crate) fn optional_key(&mut self, want: u64) -> Result<bool, FormError> {
        let Some(key) = self.peek()? else {
            return Ok(false);
        };
        if key != want {
            return Ok(false);
        }
        self.previous = Some(key);
        self.peeked = None;
        Ok(true)
    }

    /// Where the value of the key just found is read.
    pub(crate) fn value(&mut self) -> &mut Reader<'a> {
        self.reader
    }

    fn peek(&mut self) -> Result<Option<u64>, FormError> {
        if self.peeked.is_none() && self.left > 0 {
            let key = self.reader.uint()?;
            self.left -= 1;
            match self.previous {
                Some(previous) if previous == key => return Err(FormError::DuplicateKey { key }),
                Some(previous) if previous > key => return Err(FormError::UnsortedKeys { key }),
                _ => {}
            }
            if self.reserved.contains(&key) {
                return Err(FormError::ReservedField { key });
            }
            if key > self.last {
                return Err(FormError::UnknownKey { key });
            }
            self.peeked = Some(key);
        }
        Ok(self.peeked)
    }

    /// Refuses what is left: more keys, or bytes behind the map.
    pub(crate) fn finish(mut self) -> Result<(), FormError> {
        if let Some(key) = self.peek()? {
            return Err(FormError::UnknownKey { key });
        }
        match self.reader.input.len() - self.reader.at {
            0 => Ok(()),
            count => Err(FormError::TrailingBodyBytes { count }),
        }
    }
}

/// Writes the one encoding that [`Reader`] accepts.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let major = major << 5;
        let bytes = value.to_be_bytes();
        match value {
            0..24 => self.0.push(major | value as u8),
            24..=0xff => self.0.extend([major | 24, bytes[7]]),
            0x100..=0xffff => {
                self.0.push(major | 25);
                self.0.extend(&bytes[6..]);
            }
            0x1_0000..=0xffff_ffff => {
                self.0.push(major | 26);
                self.0.extend(&bytes[4..]);
            }
            _ => {
                self.0.push(major | 27);
                self.0.extend(bytes);
            }
        }
        self
    }

    pub(crate) fn uint(&mut self, value: impl Into<u64>) -> &mut Self {
        self.head(UINT, value.into())
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(BYTES, value.len() as u64).0.extend(value);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.head(TEXT, value.len() as u64)
            .0
            .extend(value.as_bytes());
        self
    }

    pub(crate) fn array(&mut self, count: usize) -> &mut Self {
        self.head(ARRAY, count as u64)
    }

    /// The head of the document's map with `count` pairs, and its version.
    pub(crate) fn document(&mut self, count: u64) -> &mut Self {
        self.head(MAP, count).uint(0u8).uint(1u8)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
