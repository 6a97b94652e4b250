use homing_certs::{NodeId, Role, Scopes, UserId};

use super::*;

const OWN: UserIdSeed = UserIdSeed(1);
const OTHER: UserIdSeed = UserIdSeed(2);

#[derive(Clone, Copy)]
struct UserIdSeed(u8);

impl UserIdSeed {
    fn id(self) -> UserId {
        UserId::from([self.0; 16])
    }
}

fn scopes(list: &[&str]) -> Scopes {
    Scopes::new(list.iter().copied()).unwrap()
}

fn actor(role: Role, list: &[&str]) -> Actor {
    Actor {
        node_id: Some(NodeId::from([9; 32])),
        user_id: OWN.id(),
        handle: "anna".to_owned(),
        role,
        rights: effective_rights(role, &scopes(list)),
        on_behalf_of: None,
    }
}

fn target(user: UserIdSeed, role: Role) -> Target {
    Target {
        node_id: NodeId::from([7; 32]),
        user_id: user.id(),
        role,
    }
}

#[test]
fn every_role_may_invite_only_what_the_table_says() {
    // (inviter, its scopes, new device's user, role, scopes, allowed)
    let all = KNOWN_SCOPES;
    type Case = (
        Role,
        &'static [&'static str],
        UserIdSeed,
        Role,
        &'static [&'static str],
        bool,
    );
    let table: &[Case] = &[
        (Role::Admin, all, OWN, Role::Client, &["chat"], true),
        (Role::Admin, all, OTHER, Role::Client, &["chat"], true),
        (Role::Admin, all, OWN, Role::Admin, all, true),
        (Role::Admin, all, OWN, Role::Agent, &["status.read"], true),
        (Role::Admin, all, OWN, Role::Node, &["status.read"], true),
        (Role::Admin, all, OWN, Role::Bridge, &["chat"], true),
        (
            Role::Admin,
            &["chat", "invite"],
            OWN,
            Role::Client,
            &["terminal"],
            false,
        ),
        (Role::Admin, &["chat"], OWN, Role::Client, &["chat"], false),
        (
            Role::Client,
            &["chat", "invite"],
            OWN,
            Role::Client,
            &["chat"],
            true,
        ),
        (
            Role::Client,
            &["chat", "invite"],
            OWN,
            Role::Client,
            &["chat", "invite"],
            true,
        ),
        (
            Role::Client,
            &["chat", "invite"],
            OWN,
            Role::Client,
            &["terminal"],
            false,
        ),
        (
            Role::Client,
            &["chat", "invite"],
            OTHER,
            Role::Client,
            &["chat"],
            false,
        ),
        (
            Role::Client,
            &["chat", "invite"],
            OWN,
            Role::Admin,
            &["chat"],
            false,
        ),
        (
            Role::Client,
            &["chat", "invite"],
            OWN,
            Role::Node,
            &[],
            false,
        ),
        (
            Role::Client,
            &["chat", "invite"],
            OWN,
            Role::Bridge,
            &["chat"],
            false,
        ),
        (
            Role::Client,
            &["chat", "invite"],
            OWN,
            Role::Agent,
            &[],
            false,
        ),
        (Role::Client, &["chat"], OWN, Role::Client, &["chat"], false),
        (
            Role::Client,
            &["vault", "invite"],
            OWN,
            Role::Client,
            &["vault"],
            true,
        ),
        (
            Role::Node,
            &["invite", "status.read"],
            OWN,
            Role::Client,
            &["status.read"],
            false,
        ),
        (
            Role::Bridge,
            &["invite", "chat"],
            OWN,
            Role::Client,
            &["chat"],
            false,
        ),
        (
            Role::Agent,
            &["invite", "status.read"],
            OWN,
            Role::Client,
            &["status.read"],
            false,
        ),
    ];
    for (role, own, user, new_role, wanted, allowed) in table {
        let wanted = scopes(wanted);
        let grant = Grant {
            user_id: user.id(),
            role: *new_role,
            scopes: &wanted,
        };
        let verdict = actor(*role, own).may_grant(&grant);
        assert_eq!(
            verdict.is_ok(),
            *allowed,
            "{role} {own:?} invites {new_role} {wanted}: {verdict:?}"
        );
    }
}

#[test]
fn nothing_above_a_roles_ceiling_is_granted_even_by_the_owner_on_the_host() {
    let local = Actor {
        node_id: None,
        ..actor(Role::Admin, KNOWN_SCOPES)
    };
    for (role, scope) in [
        (Role::Client, "config.write"),
        (Role::Client, "models"),
        (Role::Client, "mcp"),
        (Role::Client, "devices.revoke"),
        (Role::Node, "chat"),
        (Role::Bridge, "terminal"),
        (Role::Agent, "chat"),
    ] {
        let wanted = scopes(&[scope]);
        let grant = Grant {
            user_id: OWN.id(),
            role,
            scopes: &wanted,
        };
        let expected = Refusal::AboveCeiling {
            role,
            scope: scope.to_owned(),
        };
        assert_eq!(local.may_grant(&grant), Err(expected));
    }
    let wanted = scopes(&["everything"]);
    let grant = Grant {
        user_id: OWN.id(),
        role: Role::Admin,
        scopes: &wanted,
    };
    assert_eq!(
        local.may_grant(&grant),
        Err(Refusal::BadScope {
            scope: "everything".to_owned()
        })
    );
}

#[test]
fn every_role_may_revoke_rename_and_see_only_what_the_table_says() {
    // (caller, its scopes, target's user, target's role, revoke, rename, see)
    let all = KNOWN_SCOPES;
    type Case = (
        Role,
        &'static [&'static str],
        UserIdSeed,
        Role,
        bool,
        bool,
        bool,
    );
    let table: &[Case] = &[
        (Role::Admin, all, OWN, Role::Client, true, true, true),
        (Role::Admin, all, OWN, Role::Admin, true, true, true),
        (Role::Admin, all, OWN, Role::Agent, true, true, true),
        (Role::Admin, all, OTHER, Role::Client, true, true, true),
        (Role::Admin, &["chat"], OWN, Role::Agent, true, true, true),
        (
            Role::Admin,
            &["chat"],
            OTHER,
            Role::Client,
            false,
            true,
            false,
        ),
        (Role::Client, &["chat"], OWN, Role::Client, true, true, true),
        (
            Role::Client,
            &["chat"],
            OWN,
            Role::Admin,
            false,
            false,
            true,
        ),
        (
            Role::Client,
            &["chat"],
            OWN,
            Role::Agent,
            false,
            false,
            true,
        ),
        (
            Role::Client,
            &["chat"],
            OTHER,
            Role::Client,
            false,
            false,
            false,
        ),
        (
            Role::Client,
            &["devices.read"],
            OTHER,
            Role::Client,
            false,
            false,
            true,
        ),
        (
            Role::Client,
            &["devices.revoke"],
            OTHER,
            Role::Client,
            false,
            false,
            false,
        ),
        (
            // Only for an admin who asked it.
            Role::Agent,
            &["devices.revoke"],
            OTHER,
            Role::Client,
            false,
            false,
            true,
        ),
        (
            Role::Agent,
            &["status.read"],
            OWN,
            Role::Client,
            false,
            false,
            false,
        ),
        (
            Role::Node,
            &["status.read"],
            OWN,
            Role::Client,
            false,
            false,
            false,
        ),
        (
            Role::Bridge,
            &["chat"],
            OWN,
            Role::Client,
            false,
            false,
            false,
        ),
    ];
    for (role, own, user, of_role, revoke, rename, see) in table {
        let actor = actor(*role, own);
        let target = target(*user, *of_role);
        let case = format!("{role} {own:?} on a device of role {of_role}");
        assert_eq!(actor.may_revoke(&target).is_ok(), *revoke, "revoke: {case}");
        assert_eq!(actor.may_rename(&target).is_ok(), *rename, "rename: {case}");
        assert_eq!(actor.may_see(&target), *see, "see: {case}");
    }
}

#[test]
fn every_device_may_see_and_revoke_itself() {
    for role in Role::ALL {
        let actor = actor(role, &[]);
        let itself = Target {
            node_id: NodeId::from([9; 32]),
            user_id: OWN.id(),
            role,
        };
        assert!(
            actor.may_see(&itself) && actor.may_revoke(&itself).is_ok(),
            "{role}"
        );
    }
}

#[test]
fn the_default_scopes_are_known_and_below_their_roles_ceiling() {
    assert_eq!(owner_scopes().len(), KNOWN_SCOPES.len());
    for role in Role::ALL {
        for own_user in [true, false] {
            let scopes = default_scopes(role, own_user);
            assert!(!scopes.is_empty(), "{role}");
            for scope in scopes.iter() {
                assert!(
                    KNOWN_SCOPES.contains(&scope) && role.permits(scope),
                    "{role} {scope}"
                );
            }
        }
    }
}

#[test]
fn only_an_agent_with_the_scope_passes_revocations_on_and_only_for_an_admin_who_has_it_too() {
    let passes = |role, own: &[&str], principal, theirs: &[&str]| {
        let asked = actor(principal, theirs);
        actor(role, own).may_pass_on_revocations(&asked).is_ok()
    };
    let all = &["devices.revoke"];
    assert!(passes(Role::Agent, all, Role::Admin, all));
    assert!(!passes(Role::Agent, &["status.read"], Role::Admin, all));
    assert!(!passes(Role::Admin, KNOWN_SCOPES, Role::Admin, all));
    assert!(!passes(Role::Client, all, Role::Admin, all));
    assert!(!passes(Role::Agent, all, Role::Admin, &["chat"]));
    for role in [Role::Client, Role::Agent, Role::Node, Role::Bridge] {
        assert!(!passes(Role::Agent, all, role, all), "{role}");
    }
}

#[test]
fn an_agent_that_passes_a_revocation_on_revokes_others_and_never_itself() {
    let agent = Actor {
        on_behalf_of: Some(NodeId::from([1; 32])),
        ..actor(Role::Agent, &["devices.revoke"])
    };
    let target = |node_id| Target {
        node_id,
        user_id: OTHER.id(),
        role: Role::Admin,
    };
    assert!(agent.may_revoke(&target(NodeId::from([2; 32]))).is_ok());
    assert!(agent.may_revoke(&target(NodeId::from([9; 32]))).is_err());
}
