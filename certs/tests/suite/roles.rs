//! Ceilings and scopes.

use homing_certs::*;

fn scopes(list: &[&str]) -> Scopes {
    Scopes::new(list.iter().copied()).unwrap()
}

#[test]
fn every_role_has_exactly_its_ceiling() {
    let denied_to_clients = ["config.write", "devices.revoke", "mcp", "models"];
    for scope in KNOWN_SCOPES {
        assert!(Role::Admin.permits(scope));
        assert_eq!(
            Role::Client.permits(scope),
            !denied_to_clients.contains(scope),
            "{scope}"
        );
        assert_eq!(
            Role::Node.permits(scope),
            *scope == "status.read",
            "{scope}"
        );
        assert_eq!(Role::Bridge.permits(scope), *scope == "chat", "{scope}");
        assert_eq!(
            Role::Agent.permits(scope),
            ["devices.revoke", "status.read"].contains(scope),
            "{scope}"
        );
    }
}

#[test]
fn no_pattern_of_scopes_lifts_a_role_over_its_ceiling() {
    for pattern in [
        "*",
        "config.*",
        "config",
        "devices",
        "devices.*",
        "models.*",
        "mcp",
    ] {
        let rights = effective_rights(Role::Client, &scopes(&[pattern]));
        for denied in ["config.write", "devices.revoke", "models", "mcp"] {
            assert!(
                !rights.contains(denied),
                "{pattern} gives a client {denied}"
            );
        }
    }
    assert_eq!(
        effective_rights(Role::Node, &scopes(&["*"])),
        scopes(&["status.read"])
    );
    assert_eq!(
        effective_rights(Role::Bridge, &scopes(&["terminal"])),
        Scopes::empty()
    );
    assert_eq!(
        effective_rights(Role::Admin, &scopes(&["*"])),
        scopes(&["*"])
    );
}

#[test]
fn no_scope_listed_is_no_scope_granted() {
    for role in Role::ALL {
        assert!(effective_rights(role, &Scopes::empty()).is_empty());
        for scope in KNOWN_SCOPES {
            assert!(!Scopes::empty().contains(scope));
        }
    }
}

#[test]
fn a_scope_covers_itself_and_what_is_below() {
    let vault = scopes(&["vault"]);
    assert!(vault.contains("vault") && vault.contains("vault.read"));
    assert!(!vault.contains("vaults") && !vault.contains("vaults.read"));
    let below = scopes(&["vault.*"]);
    assert!(below.contains("vault.read") && !below.contains("vault"));
    assert!(scopes(&["vault.read", "chat"]).is_subset_of(&scopes(&["chat", "vault"])));
    assert!(!scopes(&["vault"]).is_subset_of(&scopes(&["vault.read", "vault.write"])));
    assert_eq!(
        scopes(&["vault", "chat"]).intersect(&scopes(&["vault.read", "files"])),
        scopes(&["vault.read"])
    );
}

#[test]
fn scopes_are_sorted_unique_and_few() {
    assert_eq!(
        scopes(&["files", "chat", "files"]).to_string(),
        "chat,files"
    );
    for bad in ["", "Chat", "a b", "é", &"a".repeat(33)] {
        assert_eq!(
            Scopes::new([bad]),
            Err(ScopeError::Invalid { scope: bad.into() })
        );
    }
    assert!(Scopes::new((0..32).map(|n| format!("s{n}"))).is_ok());
    assert_eq!(
        Scopes::new((0..33).map(|n| format!("s{n}"))),
        Err(ScopeError::TooMany { count: 33 })
    );
}

#[test]
fn roles_read_their_own_names() {
    for role in Role::ALL {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    assert!("owner".parse::<Role>().is_err());
    assert!("a.b_c-9".parse::<Handle>().is_ok());
    assert!("".parse::<Handle>().is_err() && "A".parse::<Handle>().is_err());
}
