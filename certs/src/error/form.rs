//! Refusals of the form of a document, before anything in it is believed.

use crate::wire::Kind;

/// What is wrong with the bytes. Offsets count from the start of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are named after what they hold")]
pub enum FormError {
    /// The envelope ends before it should.
    #[error("the document is cut off")]
    Truncated,
    /// An envelope version from the future.
    #[error("envelope version {version} is not supported")]
    UnsupportedVersion { version: u8 },
    /// Another kind of document.
    #[error("kind {got} where {} was expected", expected.name())]
    WrongKind { expected: Kind, got: u8 },
    /// A kind that has a number but no meaning yet.
    #[error("kind {kind} is reserved")]
    ReservedKind { kind: u8 },
    /// The body is greater than its kind allows.
    #[error("a body of {len} bytes, at most {max} are allowed")]
    BodyTooLong { len: usize, max: usize },
    /// No signature, or more than the kind allows.
    #[error("{count} signatures")]
    SignatureCount { count: u8 },
    /// Bytes behind the last signature.
    #[error("{count} bytes too many")]
    TrailingBytes { count: usize },
    /// The body ends before it should.
    #[error("the body is cut off")]
    BodyTruncated,
    /// A CBOR tag.
    #[error("a tag at byte {offset}")]
    Tag { offset: usize },
    /// A CBOR float, boolean, null, undefined, simple value or break.
    #[error("a float or simple value at byte {offset}")]
    FloatOrSimple { offset: usize },
    /// A CBOR item head that has no meaning.
    #[error("a malformed item at byte {offset}")]
    MalformedHead { offset: usize },
    /// A CBOR item without a length.
    #[error("an indefinite length at byte {offset}")]
    Indefinite { offset: usize },
    /// A CBOR item of another type than the table says.
    #[error("a wrong type at byte {offset}")]
    WrongType { offset: usize },
    /// A number or length written longer than it has to be.
    #[error("not the shortest form at byte {offset}")]
    NotShortest { offset: usize },
    /// A number outside the range of its field.
    #[error("a number out of range at byte {offset}")]
    OutOfRange { offset: usize },
    /// A byte string of another length than the table says.
    #[error("{got} bytes instead of {expected} at byte {offset}")]
    WrongLength {
        offset: usize,
        expected: usize,
        got: usize,
    },
    /// A list that is too short or too long.
    #[error("a list of {count}, from {min} to {max} are allowed")]
    Count { count: u64, min: usize, max: usize },
    /// A key lower than the one before.
    #[error("the key {key} is out of order")]
    UnsortedKeys { key: u64 },
    /// A key twice.
    #[error("the key {key} stands there twice")]
    DuplicateKey { key: u64 },
    /// A key that the table does not have.
    #[error("the key {key} is unknown")]
    UnknownKey { key: u64 },
    /// A key that has a name but no meaning yet.
    #[error("the field {key} is reserved")]
    ReservedField { key: u64 },
    /// A key that must be there.
    #[error("the key {key} is missing")]
    MissingKey { key: u64 },
    /// Bytes behind the body's map.
    #[error("{count} bytes behind the body")]
    TrailingBodyBytes { count: usize },
    /// A body version from the future.
    #[error("body version {version} is not supported")]
    UnsupportedBodyVersion { version: u64 },
    /// Not a handle.
    #[error("not a handle")]
    BadHandle,
    /// A role without a name.
    #[error("the role {role} is unknown")]
    UnknownRole { role: u64 },
    /// Not a scope.
    #[error("not a scope")]
    BadScope,
    /// Scopes not ascending, or one twice.
    #[error("the scopes are out of order")]
    UnsortedScopes,
    /// The generation that only a revocation may name.
    #[error("the generation {} is reserved", u32::MAX)]
    ReservedGeneration,
    /// A reason of revocation without a name.
    #[error("the revocation reason {reason} is unknown")]
    UnknownRevokeReason { reason: u64 },
    /// Entries not ascending by device, or one twice.
    #[error("the entries are out of order")]
    UnsortedEntries,
    /// A log step 0, which is before the first.
    #[error("a delta with seq 0")]
    SeqZero,
}

impl FormError {
    /// The name of this refusal in `docs/trust.md`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::UnsupportedVersion { .. } => "unsupported_version",
            Self::WrongKind { .. } => "wrong_kind",
            Self::ReservedKind { .. } => "reserved_kind",
            Self::BodyTooLong { .. } => "body_too_long",
            Self::SignatureCount { .. } => "signature_count",
            Self::TrailingBytes { .. } => "trailing_bytes",
            Self::BodyTruncated => "body_truncated",
            Self::Tag { .. } => "tag",
            Self::FloatOrSimple { .. } => "float_or_simple",
            Self::MalformedHead { .. } => "malformed_head",
            Self::Indefinite { .. } => "indefinite_length",
            Self::WrongType { .. } => "wrong_type",
            Self::NotShortest { .. } => "not_shortest",
            Self::OutOfRange { .. } => "out_of_range",
            Self::WrongLength { .. } => "wrong_length",
            Self::Count { .. } => "count",
            Self::UnsortedKeys { .. } => "unsorted_keys",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::UnknownKey { .. } => "unknown_key",
            Self::ReservedField { .. } => "reserved_field",
            Self::MissingKey { .. } => "missing_key",
            Self::TrailingBodyBytes { .. } => "trailing_body_bytes",
            Self::UnsupportedBodyVersion { .. } => "unsupported_body_version",
            Self::BadHandle => "bad_handle",
            Self::UnknownRole { .. } => "unknown_role",
            Self::BadScope => "bad_scope",
            Self::UnsortedScopes => "unsorted_scopes",
            Self::ReservedGeneration => "reserved_generation",
            Self::UnknownRevokeReason { .. } => "unknown_revoke_reason",
            Self::UnsortedEntries => "unsorted_entries",
            Self::SeqZero => "seq_zero",
        }
    }

    /// Whether a newer peer might be right and this side too old.
    pub fn is_from_the_future(&self) -> bool {
        matches!(
            self,
            Self::UnsupportedVersion { .. } | Self::UnsupportedBodyVersion { .. }
        )
    }
}
