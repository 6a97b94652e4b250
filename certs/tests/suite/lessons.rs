//! Faults that other systems had, each as a test that it is not had here.

use homing_certs::*;

use crate::support::*;

fn verified(state: &TrustState, certificate: &DeviceCertificate) -> VerifiedCertificate {
    state
        .verify_certificate(&certificate.sign(&signer_key()).unwrap())
        .unwrap()
}

/// Nebula, GHSA-69x3-g4r3-p962: a blocked certificate had a second fingerprint.
#[test]
fn a_revocation_names_the_key_so_a_reencoded_certificate_is_still_revoked() {
    let (_, state) = log_of(&state(), &[device()]);
    let another = DeviceCertificate {
        serial: Serial::from([1; 16]),
        generation: certificate().generation + 1_000,
        handle: Handle::new("other").unwrap(),
        ..certificate()
    };
    for certificate in [certificate(), another] {
        let verified = verified(&state, &certificate);
        let error = state.check(&verified, &device(), NOW).unwrap_err();
        assert_eq!(error, CertificateError::Revoked { device: device() });
    }
}

/// tough, CVE-2025-2888, and go-tuf, CVE-2022-29173: old state was kept before it was checked.
#[test]
fn an_old_log_is_rejected_before_it_is_saved() {
    let (log, mut after) = log_of(&state(), &[device(), node(11), node(12)]);
    let (_, early) = log_of(&state(), &[device()]);
    let before = after.to_replica();
    assert_eq!(after.apply(&log[0]), Ok(Applied::Old));
    let old_snapshot = early
        .snapshot(NOW.saturating_add(99))
        .sign(&signer_key())
        .unwrap();
    assert_eq!(after.apply(&old_snapshot), Ok(Applied::Old));
    let cut_short = early
        .heartbeat(NOW.saturating_add(99))
        .sign(&signer_key())
        .unwrap();
    assert!(matches!(
        after.apply(&cut_short),
        Err(LogError::Rollback { .. })
    ));
    assert_eq!(sorted(after.to_replica()), sorted(before));
}

fn sorted(mut replica: Replica) -> Replica {
    replica.entries.sort_by_key(|entry| entry.device);
    replica
}

/// The update framework's fast-forward attack: a ratchet without a way out freezes the victim.
#[test]
fn a_fast_forwarded_sequence_ends_with_the_next_root_epoch() {
    let mut state = state();
    let stolen = Snapshot {
        seq: u64::MAX,
        head: LogHash::from([7; 32]),
        entries: vec![revoke(device())],
        ..state.snapshot(NOW)
    };
    state.apply(&stolen.sign(&signer_key()).unwrap()).unwrap();
    assert!(state.is_revoked(&device()));
    let honest = state
        .next_delta(NOW, vec![revoke(node(11))])
        .sign(&signer_key())
        .unwrap();
    assert!(state.apply(&honest).is_err());

    state.extend_root(&second_wire(&next_signer_key())).unwrap();
    let first = Snapshot {
        entries: vec![revoke(node(11))],
        ..state.snapshot(NOW)
    };
    assert_eq!((first.root_epoch, first.seq), (2, 0));
    let applied = state
        .apply(&first.sign(&next_signer_key()).unwrap())
        .unwrap();
    assert_eq!(
        applied,
        Applied::Snapshot {
            seq: 0,
            changed: vec![revoke(node(11))]
        }
    );
    assert!(!state.is_revoked(&device()) && state.is_revoked(&node(11)));
    let next = state
        .next_delta(NOW, vec![revoke(node(12))])
        .sign(&next_signer_key())
        .unwrap();
    assert!(matches!(
        state.apply(&next),
        Ok(Applied::Delta { seq: 1, .. })
    ));
}

/// Nebula 1824: an issuer in the block list was ignored.
#[test]
fn revoking_a_signer_ends_every_certificate_it_has_signed() {
    let mut state = state();
    let verified = verified(&state, &certificate());
    assert_eq!(state.check(&verified, &device(), NOW), Ok(()));
    state.extend_root(&second_wire(&next_signer_key())).unwrap();
    let error = state.check(&verified, &device(), NOW).unwrap_err();
    assert_eq!(error.code(), ReasonCode::UnknownSigner);
    let again = state.verify_certificate(verified.wire()).unwrap_err();
    assert_eq!(
        again,
        CertificateError::UnknownSigner {
            key_id: NodeId::from(&signer_key()).key_id()
        }
    );
}

#[test]
fn revoking_a_signer_ends_what_it_backdates_afterwards() {
    let mut state = state();
    state.extend_root(&second_wire(&next_signer_key())).unwrap();
    let backdated = DeviceCertificate {
        issued_at: UnixTime(NOW.0 - 10 * DAY),
        not_before: UnixTime(NOW.0 - 10 * DAY - BACKDATE_SECS),
        not_after: UnixTime(NOW.0 + 10 * DAY),
        ..certificate()
    };
    let wire = backdated.sign(&signer_key()).unwrap();
    assert!(matches!(
        state.verify_certificate(&wire),
        Err(CertificateError::UnknownSigner { .. })
    ));
}

#[test]
fn a_change_of_host_leaves_every_certificate_as_it_is() {
    let mut state = state();
    let verified = verified(&state, &certificate());
    let moved = RootDocument {
        coordinators: vec![node(50)],
        ..second_epoch(&signer_key())
    };
    state
        .extend_root(&moved.sign(&[&root_key()]).unwrap())
        .unwrap();
    assert_eq!(state.check(&verified, &device(), NOW), Ok(()));
}

/// Nebula 724, SPIRE PR 711, headscale PR 3472: what was checked once was served for ever.
#[test]
fn a_verified_certificate_is_refused_on_the_next_check_after_a_revocation() {
    let mut state = state();
    let verified = verified(&state, &certificate());
    assert_eq!(state.check(&verified, &device(), NOW), Ok(()));
    let delta = state
        .next_delta(NOW, vec![revoke(device())])
        .sign(&signer_key())
        .unwrap();
    state.apply(&delta).unwrap();
    assert_eq!(
        state.check(&verified, &device(), NOW).unwrap_err().code(),
        ReasonCode::Revoked
    );
}

#[test]
fn a_demotion_refuses_the_old_certificate_and_takes_the_new_one() {
    let mut state = state();
    let old = verified(&state, &certificate());
    let minimum = certificate().generation + 1;
    let demote = RevocationEntry {
        device: device(),
        min_generation: minimum,
        reason: RevokeReason::Demoted,
    };
    state
        .apply(
            &state
                .next_delta(NOW, vec![demote])
                .sign(&signer_key())
                .unwrap(),
        )
        .unwrap();
    let error = state.check(&old, &device(), NOW).unwrap_err();
    assert_eq!(
        error,
        CertificateError::Superseded {
            generation: minimum - 1,
            minimum
        }
    );
    assert_eq!(error.code(), ReasonCode::CertExpired);
    assert!(!state.is_revoked(&device()));
    let new = verified(
        &state,
        &DeviceCertificate {
            generation: minimum,
            ..certificate()
        },
    );
    assert_eq!(state.check(&new, &device(), NOW), Ok(()));
}

/// mStream PR 733: a credential that is copied to another device.
#[test]
fn a_stolen_certificate_is_worth_nothing_without_its_key() {
    let state = state();
    let verified = verified(&state, &certificate());
    let error = state.check(&verified, &node(66), NOW).unwrap_err();
    assert_eq!(
        error,
        CertificateError::WrongKey {
            certificate: device(),
            peer: node(66)
        }
    );
}

/// A rogue agent must not be able to talk a device into giving up.
#[test]
fn a_device_believes_its_revocation_only_with_the_signed_entry() {
    let (log, _) = log_of(&state(), &[node(11), device()]);
    let own = state();
    assert_eq!(
        own.verify_revocation_proof(&device(), &log[1]),
        Ok(revoke(device()))
    );
    let error = own.verify_revocation_proof(&device(), &log[0]).unwrap_err();
    assert_eq!(error, LogError::NotNamed { device: device() });
    let rogue = own
        .next_delta(NOW, vec![revoke(device())])
        .sign(&key(77))
        .unwrap();
    assert!(matches!(
        own.verify_revocation_proof(&device(), &rogue),
        Err(LogError::UnknownSigner { .. })
    ));
}

/// Web engines make randomised signatures: two byte strings can be one delta.
#[test]
fn a_second_signature_over_the_same_delta_is_not_another_delta() {
    let wire = state()
        .next_delta(NOW, vec![revoke(device())])
        .sign(&signer_key())
        .unwrap();
    let mut resigned = wire.clone();
    let len = resigned.len();
    resigned[len - 64..].fill(3);
    assert_eq!(delta_hash(&wire), delta_hash(&resigned));
    resigned[40] ^= 1;
    assert_ne!(delta_hash(&wire), delta_hash(&resigned));
}

#[test]
fn a_new_root_alone_revokes_and_unrevokes_nobody() {
    let (_, mut state) = log_of(&state(), &[device()]);
    let head = state.head();
    state.extend_root(&second_wire(&next_signer_key())).unwrap();
    assert!(state.is_revoked(&device()));
    assert_eq!(state.head(), head);
}

#[test]
fn a_snapshot_of_the_same_epoch_unrevokes_nobody() {
    let (_, mut state) = log_of(&state(), &[device()]);
    let forgetful = Snapshot {
        seq: 9,
        head: LogHash::from([9; 32]),
        entries: vec![],
        ..state.snapshot(NOW)
    };
    state
        .apply(&forgetful.sign(&signer_key()).unwrap())
        .unwrap();
    assert!(state.is_revoked(&device()));
    assert_eq!(state.head().seq, 9);
}

#[test]
fn a_document_of_one_kind_cannot_pass_as_another() {
    let mut wire = state().heartbeat(NOW).sign(&signer_key()).unwrap();
    wire[1] = Kind::RevocationDelta as u8;
    assert_eq!(state().apply(&wire), Err(LogError::BadSignature));
}

#[test]
fn two_stories_about_one_step_raise_an_alarm() {
    let mut state = state();
    let one = state
        .next_delta(NOW, vec![revoke(device())])
        .sign(&signer_key())
        .unwrap();
    let other = state
        .next_delta(NOW, vec![revoke(node(11))])
        .sign(&signer_key())
        .unwrap();
    state.apply(&one).unwrap();
    assert_eq!(
        state.apply(&other),
        Err(LogError::Equivocation {
            seq: 1,
            have: delta_hash(&one),
            got: delta_hash(&other)
        })
    );
    assert!(!state.is_revoked(&node(11)));
}
