//! What a certificate's fields must be before it is signed, and identifiers as text.

use homing_certs::*;

use crate::support::*;

#[test]
fn nothing_is_signed_that_would_be_refused() {
    let refuse = |change: &dyn Fn(&mut DeviceCertificate)| {
        let mut certificate = certificate();
        change(&mut certificate);
        certificate.sign(&signer_key()).unwrap_err()
    };
    assert!(matches!(
        refuse(&|c| c.not_after.0 += DAY + 1),
        EncodeError::Certificate(CertificateError::LifeTooLong { .. })
    ));
    assert!(matches!(
        refuse(&|c| c.not_before = c.issued_at),
        EncodeError::Certificate(CertificateError::WrongBackdate { .. })
    ));
    assert!(matches!(
        refuse(&|c| c.device = weak_key()),
        EncodeError::Certificate(CertificateError::WeakDeviceKey(WeakKey::SmallOrder))
    ));
    assert_eq!(
        refuse(&|c| c.generation = REVOKED),
        EncodeError::Form(FormError::ReservedGeneration)
    );
    let long = |c: &mut DeviceCertificate| {
        c.scopes = Scopes::new((10..42).map(|n| format!("{n}{}", "x".repeat(30)))).unwrap();
    };
    assert!(matches!(
        refuse(&long),
        EncodeError::Form(FormError::BodyTooLong { .. })
    ));
}

#[test]
fn a_root_document_needs_its_roots_to_sign() {
    let error = genesis().sign(&[]).unwrap_err();
    assert_eq!(
        error,
        EncodeError::Form(FormError::SignatureCount { count: 0 })
    );
    let no_coordinator = RootDocument {
        coordinators: vec![],
        ..genesis()
    };
    let error = no_coordinator.sign(&[&root_key()]).unwrap_err();
    assert!(matches!(error, EncodeError::Form(FormError::Count { .. })));
    let two = RootDocument {
        roots: vec![node(1), node(5)],
        ..genesis()
    };
    let error = two.sign(&[&root_key(), &key(5)]).unwrap_err();
    assert_eq!(
        error,
        EncodeError::Root(RootError::SeveralRoots { count: 2 })
    );
}

#[test]
fn a_verified_certificate_keeps_the_bytes_and_the_signer() {
    let wire = certificate().sign(&signer_key()).unwrap();
    let verified = state().verify_certificate(&wire).unwrap();
    assert_eq!(verified.certificate(), &certificate());
    assert_eq!(verified.wire(), wire);
    assert_eq!(verified.signer(), &NodeId::from(&signer_key()));
    assert_eq!(kind_of(&wire), Some(Kind::DeviceCertificate));
}

#[test]
fn a_generation_never_repeats_after_a_restore() {
    let first = next_generation(None, NOW);
    let second = next_generation(Some(first), NOW);
    assert_eq!(second, first + 1);
    // The database of `first` comes back a minute or more later: `second` is not issued again.
    let again = next_generation(Some(first), NOW.saturating_add(120));
    assert!(again > second);
}

#[test]
fn a_generation_stays_below_the_one_that_revokes() {
    assert_eq!(next_generation(Some(u32::MAX - 1), NOW), u32::MAX - 1);
    assert_eq!(next_generation(None, UnixTime(u64::MAX)), u32::MAX - 1);
}

#[test]
fn identifiers_read_their_own_text_and_nothing_else() {
    let id = device();
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
    assert_eq!(id.short(), id.to_string()[..10]);
    for bad in [
        "",
        "00",
        &id.to_string()[1..],
        &format!("{id}00"),
        &id.to_string().replace(['0', '1'], "g"),
    ] {
        assert_eq!(
            bad.parse::<NodeId>(),
            Err(IdParseError { expected: 64 }),
            "{bad}"
        );
    }
    assert_eq!(
        format!("{:?}", KeyId::from([1; 8])),
        "KeyId(0101010101010101)"
    );
}

#[test]
fn weak_keys_are_told_apart() {
    assert_eq!(weak_key().check_enrollable(), Err(WeakKey::SmallOrder));
    assert_eq!(
        unreduced_key().check_enrollable(),
        Err(WeakKey::NotCanonical)
    );
    assert_eq!(
        NodeId::from([2; 32]).check_enrollable(),
        Err(WeakKey::NotAPoint)
    );
    assert_eq!(device().check_enrollable(), Ok(()));
}
