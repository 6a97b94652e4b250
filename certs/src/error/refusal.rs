//! The names and codes of refusals. A table each, in one place, so that none is forgotten.

use super::{CertificateError, FormError, LogError, ReasonCode, RootError};

impl CertificateError {
    /// What the peer is told.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Malformed(form) => form_code(form),
            Self::BadSignature
            | Self::WeakDeviceKey(_)
            | Self::WrongBackdate { .. }
            | Self::EmptyLife { .. }
            | Self::LifeTooLong { .. }
            | Self::OutsideSignerWindow { .. } => ReasonCode::CertInvalid,
            Self::UnknownSigner { .. } | Self::RootEpochAhead { .. } => ReasonCode::UnknownSigner,
            Self::WrongNetwork { .. } => ReasonCode::WrongNetwork,
            Self::WrongKey { .. } => ReasonCode::WrongKey,
            Self::Revoked { .. } => ReasonCode::Revoked,
            // Not revoked: the device has a right to a certificate, only to another one.
            Self::Superseded { .. } | Self::Expired { .. } => ReasonCode::CertExpired,
            Self::NotYetValid { .. } => ReasonCode::CertNotYetValid,
        }
    }

    /// The name of this refusal in `docs/trust.md`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(form) => form.reason(),
            Self::UnknownSigner { .. } => "unknown_signer",
            Self::BadSignature => "bad_signature",
            Self::WrongNetwork { .. } => "wrong_network",
            Self::RootEpochAhead { .. } => "root_epoch_ahead",
            Self::WeakDeviceKey(_) => "weak_key",
            Self::WrongBackdate { .. } => "wrong_backdate",
            Self::EmptyLife { .. } => "empty_life",
            Self::LifeTooLong { .. } => "life_too_long",
            Self::OutsideSignerWindow { .. } => "outside_signer_window",
            Self::WrongKey { .. } => "wrong_key",
            Self::Revoked { .. } => "revoked",
            Self::Superseded { .. } => "superseded",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Expired { .. } => "expired",
        }
    }
}

impl RootError {
    /// What the peer is told.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Malformed(form) => form_code(form),
            Self::SeveralRoots { .. } | Self::SeveralSigners { .. } => ReasonCode::UpgradeRequired,
            Self::WrongNetwork { .. } => ReasonCode::WrongNetwork,
            Self::Rollback { .. } | Self::EpochGap { .. } => ReasonCode::UnknownSigner,
            Self::WeakKey { .. }
            | Self::DuplicateCoordinator { .. }
            | Self::BadSignerWindow { .. }
            | Self::EpochZero
            | Self::GenesisNamesNetwork
            | Self::NetworkMissing { .. }
            | Self::NotGenesis { .. }
            | Self::EmptyChain
            | Self::ChainTooLong { .. }
            | Self::Fork { .. }
            | Self::MissingSignature { .. }
            | Self::UnknownRoot { .. }
            | Self::SignatureOrder
            | Self::BadSignature { .. } => ReasonCode::CertInvalid,
        }
    }

    /// The name of this refusal in `docs/trust.md`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(form) => form.reason(),
            Self::SeveralRoots { .. } => "several_roots",
            Self::SeveralSigners { .. } => "several_signers",
            Self::WeakKey { .. } => "weak_key",
            Self::DuplicateCoordinator { .. } => "duplicate_coordinator",
            Self::BadSignerWindow { .. } => "bad_signer_window",
            Self::EpochZero => "epoch_zero",
            Self::GenesisNamesNetwork => "genesis_names_network",
            Self::NetworkMissing { .. } => "network_missing",
            Self::NotGenesis { .. } => "not_genesis",
            Self::EmptyChain => "empty_chain",
            Self::ChainTooLong { .. } => "chain_too_long",
            Self::WrongNetwork { .. } => "wrong_network",
            Self::Rollback { .. } => "rollback",
            Self::Fork { .. } => "fork",
            Self::EpochGap { .. } => "epoch_gap",
            Self::MissingSignature { .. } => "missing_signature",
            Self::UnknownRoot { .. } => "unknown_root",
            Self::SignatureOrder => "signature_order",
            Self::BadSignature { .. } => "bad_signature",
        }
    }
}

impl LogError {
    /// What the peer is told.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Malformed(form) => form_code(form),
            Self::UnknownSigner { .. } | Self::RootEpochAhead { .. } => ReasonCode::UnknownSigner,
            Self::WrongNetwork { .. } => ReasonCode::WrongNetwork,
            Self::Gap { .. } | Self::Rollback { .. } | Self::NotLater { .. } => {
                ReasonCode::StalePolicy
            }
            Self::NotALogDocument(_)
            | Self::BadSignature
            | Self::OutsideSignerWindow { .. }
            | Self::Equivocation { .. }
            | Self::Full { .. }
            | Self::NotNamed { .. } => ReasonCode::CertInvalid,
        }
    }

    /// The name of this refusal in `docs/trust.md`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(form) => form.reason(),
            Self::NotALogDocument(_) => "not_a_log_document",
            Self::UnknownSigner { .. } => "unknown_signer",
            Self::BadSignature => "bad_signature",
            Self::WrongNetwork { .. } => "wrong_network",
            Self::RootEpochAhead { .. } => "root_epoch_ahead",
            Self::OutsideSignerWindow { .. } => "outside_signer_window",
            Self::Gap { .. } => "gap",
            Self::Equivocation { .. } => "equivocation",
            Self::Rollback { .. } => "rollback",
            Self::NotLater { .. } => "not_later",
            Self::Full { .. } => "full",
            Self::NotNamed { .. } => "not_named",
        }
    }
}

fn form_code(form: &FormError) -> ReasonCode {
    if form.is_from_the_future() {
        ReasonCode::UpgradeRequired
    } else {
        ReasonCode::CertInvalid
    }
}
