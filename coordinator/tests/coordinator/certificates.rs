use homing_certs::{CERTIFICATE_LIFE_SECS, Role, UnixTime, next_generation};
use homing_coordinator::Moment;
use homing_coordinator::authority::{Caller, RENEWAL_GRACE_DAYS, Refusal};
use homing_protocol::control::InviteRequest;

use crate::support::{Net, at, node, refusal, scopes};

const DAY: u64 = 86_400;

#[test]
fn a_renewed_certificate_is_the_rows_and_has_a_higher_generation() {
    let mut net = Net::with_owner();
    let first = net.add_named(2, "phone", at(0));
    let first = net.verified(&first.certificate);
    let renewal = net.authority.renew(node(2), 0, at(20 * DAY)).unwrap();
    let second = net.verified(&renewal.certificate);
    assert!(second.certificate().generation > first.certificate().generation);
    assert_ne!(second.certificate().serial, first.certificate().serial);
    assert_eq!(second.certificate().scopes, first.certificate().scopes);
    let end = at(20 * DAY).wall.saturating_add(CERTIFICATE_LIFE_SECS);
    assert_eq!(second.certificate().not_after, end);
    assert_eq!(renewal.root_chain.len(), 1);
    assert!(
        net.authority
            .renew(node(2), 1, at(20 * DAY))
            .unwrap()
            .root_chain
            .is_empty()
    );
}

#[test]
fn an_expired_certificate_is_no_dead_end_for_ninety_days() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let end = CERTIFICATE_LIFE_SECS + RENEWAL_GRACE_DAYS * DAY;
    let too_late = refusal(net.authority.renew(node(2), 0, at(end + 1)));
    assert_eq!(
        too_late,
        Refusal::RenewalTooLate {
            days: RENEWAL_GRACE_DAYS
        }
    );
    net.authority.renew(node(2), 0, at(end)).unwrap();
}

#[test]
fn a_revoked_key_is_never_renewed() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    net.authority
        .revoke(Caller::Local, "phone", false, at(1))
        .unwrap();
    let Refusal::Revoked { proof: Some(proof) } = refusal(net.authority.renew(node(2), 0, at(2)))
    else {
        panic!("the signed entry was expected");
    };
    net.trust()
        .verify_revocation_proof(&node(2), &proof)
        .unwrap();
    assert_eq!(
        refusal(net.authority.renew(node(99), 0, at(2))),
        Refusal::NotEnrolled
    );
}

#[test]
fn a_generation_never_repeats_when_an_old_database_comes_back() {
    let mut net = Net::with_owner();
    let backup = tempfile::tempdir().unwrap();
    net.add_named(2, "phone", at(0));
    let net_dir = net.dir();
    net = net.reopened(at(0));
    crate::support::copy_dir(&net_dir, backup.path());
    let mut newest = 0;
    for minute in 1..=3 {
        let renewal = net.authority.renew(node(2), 0, at(minute * 60)).unwrap();
        newest = net.verified(&renewal.certificate).certificate().generation;
    }
    drop(net.authority);
    let mut old = homing_coordinator::Authority::open(backup.path(), at(300)).unwrap();
    let renewal = old.renew(node(2), 0, at(300)).unwrap();
    let trust = homing_certs::TrustState::new(old.chain().clone());
    let generation = trust
        .verify_certificate(&renewal.certificate)
        .unwrap()
        .certificate()
        .generation;
    assert!(generation > newest, "{generation} after {newest}");
    assert_eq!(generation, next_generation(None, at(300).wall));
}

#[test]
fn enrolling_the_same_key_on_the_host_again_renews_it() {
    let mut net = Net::with_owner();
    let list = scopes(&["devices.revoke"]);
    let enrol = |net: &mut Net, role, seconds| {
        net.authority
            .enrol_local(node(5), "home", role, &list, None, at(seconds))
    };
    let first = enrol(&mut net, Role::Agent, 0).unwrap();
    let second = enrol(&mut net, Role::Agent, 60).unwrap();
    assert_eq!(first.device.device, second.device.device);
    let certificate = net.verified(&second.certificate);
    assert_eq!(certificate.certificate().role, Role::Agent);
    assert!(certificate.certificate().scopes.contains("devices.revoke"));
    let other = enrol(&mut net, Role::Admin, 60);
    assert_eq!(
        refusal(other),
        Refusal::KeyInUse {
            device: "home".to_owned()
        }
    );
    net.authority
        .revoke(Caller::Local, "home", false, at(61))
        .unwrap();
    assert!(matches!(
        refusal(enrol(&mut net, Role::Agent, 62)),
        Refusal::Revoked { .. }
    ));
}

#[test]
fn each_warning_of_an_ending_certificate_is_given_once() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(5 * DAY));
    let mut kinds = Vec::new();
    for day in 0..36 {
        if net.authority.warn_of_expiry(at(day * DAY + 1)).unwrap() > 0 {
            kinds.push(day);
        }
    }
    // The laptop's ends on day 30, the phone's on day 35.
    assert_eq!(kinds, [20, 25, 27, 29, 32, 34]);
    net.authority.renew(node(2), 0, at(34 * DAY)).unwrap();
    assert_eq!(net.authority.warn_of_expiry(at(34 * DAY + 2)).unwrap(), 0);
}

#[test]
fn nothing_is_signed_while_the_wall_clock_departs_from_the_monotonic_one() {
    let mut net = Net::with_owner();
    net.add_named(2, "phone", at(0));
    let jumped = Moment {
        wall: UnixTime(at(0).wall.0 + 3_600),
        monotonic: at(10).monotonic,
    };
    assert_eq!(
        refusal(net.authority.renew(node(2), 0, jumped)),
        Refusal::ClockDeparted
    );
    assert_eq!(
        refusal(net.authority.heartbeat(jumped)),
        Refusal::ClockDeparted
    );
    let revoke = net.authority.revoke(Caller::Local, "phone", false, jumped);
    assert_eq!(refusal(revoke), Refusal::ClockDeparted);
    net.authority.resume(false, jumped).unwrap();
    net.authority.renew(node(2), 0, jumped).unwrap();
}

#[test]
fn the_root_chain_is_given_from_the_epoch_that_the_asker_has() {
    let net = Net::new();
    assert_eq!(net.authority.root_chain_after(0).len(), 1);
    assert!(net.authority.root_chain_after(1).is_empty());
    assert!(net.authority.root_chain_after(u32::MAX).is_empty());
}

#[test]
fn a_certificate_names_the_rights_of_its_row_and_not_of_its_invitation_alone() {
    let mut net = Net::with_owner();
    let list = vec!["chat".to_owned(), "terminal".to_owned()];
    net.add(
        2,
        &InviteRequest {
            scopes: Some(list),
            ..InviteRequest::default()
        },
        at(0),
    );
    let db = rusqlite::Connection::open(net.dir().join("coordinator.db")).unwrap();
    db.execute(
        "UPDATE devices SET scopes = 'chat' WHERE node_id = ?1",
        [node(2).as_bytes()],
    )
    .unwrap();
    let renewal = net.authority.renew(node(2), 0, at(60)).unwrap();
    assert_eq!(
        net.verified(&renewal.certificate).certificate().scopes,
        scopes(&["chat"])
    );
}
