//! The ticket that invites a device: where the coordinator is, which network it must prove to be,
//! and the secret that is spent once.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::ids::{InviteId, NetworkId, NodeId};

/// Address hints in a ticket.
pub const MAX_ADDRESSES: usize = 8;
/// Bytes of a relay's URL in a ticket.
pub const MAX_RELAY_LEN: usize = 255;

const KIND: &str = "homing";
const VERSION: u8 = 1;
const CHECKSUM_CONTEXT: &[u8] = b"homing/ticket/v1\0";
const CHECKSUM_LEN: usize = 4;
/// Text is at most 784 characters; the rest is for line breaks and indentation.
const MAX_TEXT_LEN: usize = 4096;

/// Whoever knows it may redeem the invitation. Not printed, wiped when dropped.
#[derive(Clone)]
pub struct TicketSecret([u8; 16]);

impl TicketSecret {
    /// The secret itself.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// SHA-256 of the secret: what a coordinator keeps.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl From<[u8; 16]> for TicketSecret {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for TicketSecret {
    fn eq(&self, other: &Self) -> bool {
        // Without an early end, so that the time does not tell how much was right.
        self.0
            .iter()
            .zip(&other.0)
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0
    }
}

impl Eq for TicketSecret {}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret(..)")
    }
}

impl Drop for TicketSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// An invitation as it is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The coordinator to dial.
    pub coordinator: NodeId,
    /// The network whose root document the coordinator must show.
    pub network_id: NetworkId,
    /// The invitation.
    pub invite_id: InviteId,
    /// The right to redeem it.
    pub secret: TicketSecret,
    /// The coordinator's relay, a URL of at most [`MAX_RELAY_LEN`] printable ASCII characters.
    pub relay: Option<String>,
    /// Where the coordinator may be found, at most [`MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
}

/// Why a text is not a ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Too much text.
    #[error("the text is too long for a ticket")]
    TooLong,
    /// It does not start with `homing`.
    #[error("the text is not a homing ticket")]
    WrongKind,
    /// A character that tickets do not have, or a part of the last one.
    #[error("the ticket is not base32: a character is wrong or missing")]
    NotBase32,
    /// A ticket from the future.
    #[error("ticket version {version} is not supported")]
    UnsupportedVersion {
        /// Its version.
        version: u8,
    },
    /// The checksum does not fit: a part is missing or was changed.
    #[error("the ticket is garbled: a part is missing or was changed")]
    Garbled,
    /// The relay is not printable ASCII.
    #[error("the ticket's relay is not a URL")]
    BadRelay,
    /// An address that cannot be dialed.
    #[error("the ticket has a bad address")]
    BadAddress,
    /// More addresses than allowed.
    #[error("the ticket has {count} addresses, at most {MAX_ADDRESSES} are allowed")]
    TooManyAddresses {
        /// How many.
        count: usize,
    },
    /// The fields do not fill the ticket, though the checksum fits.
    #[error("the ticket has a wrong length")]
    WrongLength,
}

impl TicketError {
    /// The name of this refusal in `docs/trust.md`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::WrongKind => "wrong_kind",
            Self::NotBase32 => "not_base32",
            Self::UnsupportedVersion { .. } => "unsupported_version",
            Self::Garbled => "garbled",
            Self::BadRelay => "bad_relay",
            Self::BadAddress => "bad_address",
            Self::TooManyAddresses { .. } => "too_many_addresses",
            Self::WrongLength => "wrong_length",
        }
    }
}

impl Ticket {
    /// The ticket as text. Hints that a ticket cannot carry (a relay that is too long or not
    /// printable, addresses without a port or above the limit) are left out: it works without.
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.coordinator.as_bytes());
        bytes.extend(self.network_id.as_bytes());
        bytes.extend(self.invite_id.as_bytes());
        bytes.extend(self.secret.0);
        let relay = self
            .relay
            .as_deref()
            .filter(|url| is_relay(url.as_bytes()))
            .unwrap_or("");
        bytes.push(u8::try_from(relay.len()).unwrap_or(0));
        bytes.extend(relay.as_bytes());
        let addresses = self.addresses.iter().filter(|address| address.port() != 0);
        let addresses: Vec<_> = addresses.take(MAX_ADDRESSES).collect();
        bytes.push(u8::try_from(addresses.len()).unwrap_or(0));
        for address in addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    bytes.push(4);
                    bytes.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(6);
                    bytes.extend(ip.octets());
                }
            }
            bytes.extend(address.port().to_be_bytes());
        }
        let sum = checksum(&bytes);
        bytes.extend(sum);
        let text = format!("{KIND}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase());
        bytes.zeroize();
        text
    }

    /// Reads a ticket. White space, line breaks and case are ignored.
    pub fn decode(text: &str) -> Result<Self, TicketError> {
        if text.len() > MAX_TEXT_LEN {
            return Err(TicketError::TooLong);
        }
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let compact = compact.to_ascii_uppercase();
        let base32 = compact
            .strip_prefix("HOMING")
            .ok_or(TicketError::WrongKind)?;
        let mut bytes = BASE32_NOPAD
            .decode(base32.as_bytes())
            .map_err(|_| TicketError::NotBase32)?;
        let ticket = Self::decode_bytes(&bytes);
        bytes.zeroize();
        ticket
    }

    fn decode_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        let version = *bytes.first().ok_or(TicketError::Garbled)?;
        if version != VERSION {
            return Err(TicketError::UnsupportedVersion { version });
        }
        let (fields, sum) = bytes
            .split_last_chunk::<CHECKSUM_LEN>()
            .ok_or(TicketError::Garbled)?;
        if *sum != checksum(fields) {
            return Err(TicketError::Garbled);
        }
        let mut rest = fields.get(1..).ok_or(TicketError::WrongLength)?;
        let ticket = Self {
            coordinator: take::<32>(&mut rest)?.into(),
            network_id: take::<16>(&mut rest)?.into(),
            invite_id: take::<8>(&mut rest)?.into(),
            secret: TicketSecret(take(&mut rest)?),
            relay: read_relay(&mut rest)?,
            addresses: read_addresses(&mut rest)?,
        };
        if rest.is_empty() {
            Ok(ticket)
        } else {
            Err(TicketError::WrongLength)
        }
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(CHECKSUM_CONTEXT)
        .chain_update(bytes)
        .finalize()
        .into();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn is_relay(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_RELAY_LEN && bytes.iter().all(u8::is_ascii_graphic)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], TicketError> {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .ok_or(TicketError::WrongLength)?;
    *rest = tail;
    Ok(*head)
}

fn read_relay(rest: &mut &[u8]) -> Result<Option<String>, TicketError> {
    let [len] = take(rest)?;
    let (url, tail) = rest
        .split_at_checked(len.into())
        .ok_or(TicketError::WrongLength)?;
    *rest = tail;
    if !is_relay(url) {
        return Err(TicketError::BadRelay);
    }
    Ok((len > 0).then(|| url.iter().copied().map(char::from).collect()))
}

fn read_addresses(rest: &mut &[u8]) -> Result<Vec<SocketAddr>, TicketError> {
    let [count] = take(rest)?;
    let count = usize::from(count);
    if count > MAX_ADDRESSES {
        return Err(TicketError::TooManyAddresses { count });
    }
    (0..count).map(|_| read_address(rest)).collect()
}

fn read_address(rest: &mut &[u8]) -> Result<SocketAddr, TicketError> {
    let ip: IpAddr = match take(rest)? {
        [4] => take::<4>(rest)?.into(),
        [6] => take::<16>(rest)?.into(),
        _ => return Err(TicketError::BadAddress),
    };
    match u16::from_be_bytes(take(rest)?) {
        0 => Err(TicketError::BadAddress),
        port => Ok(SocketAddr::new(ip, port)),
    }
}
