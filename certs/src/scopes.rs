//! Scopes: what a certificate grants, as a canonical set. Owns which grant covers which scope.

use std::fmt;

/// Scopes a certificate may list.
pub const MAX_SCOPES: usize = 32;
/// Bytes of one scope.
pub const MAX_SCOPE_LEN: usize = 32;

/// A list that is no set of scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// More than [`MAX_SCOPES`].
    #[error("{count} scopes, at most {MAX_SCOPES} are allowed")]
    TooMany {
        /// How many different scopes there were.
        count: usize,
    },
    /// Empty, too long, or with a character outside `[a-z0-9._*-]`.
    #[error("{scope:?} is not a scope: 1 to {MAX_SCOPE_LEN} of a-z 0-9 . _ * -")]
    Invalid {
        /// The text that was refused.
        scope: String,
    },
}

/// Scopes sorted bytewise without duplicates.
///
/// A listed scope covers itself and everything below it: `vault` and `vault.*` cover
/// `vault.read`, `*` covers all. (`vault.*` does not cover `vault` itself.)
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// Sorts and deduplicates the given scopes and checks each.
    pub fn new<S: Into<String>>(scopes: impl IntoIterator<Item = S>) -> Result<Self, ScopeError> {
        let mut list: Vec<String> = scopes.into_iter().map(Into::into).collect();
        if let Some(bad) = list.iter().find(|scope| !is_scope(scope.as_bytes())) {
            return Err(ScopeError::Invalid { scope: bad.clone() });
        }
        list.sort_unstable();
        list.dedup();
        if list.len() > MAX_SCOPES {
            return Err(ScopeError::TooMany { count: list.len() });
        }
        Ok(Self(list))
    }

    /// No scope at all.
    pub fn empty() -> Self {
        Self(Vec::new())
    }

    /// Whether `scope` is granted, by its own name or by one that covers it.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|grant| covers(grant, scope))
    }

    /// The listed scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many are listed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is listed, which grants nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` grants everything that this grants.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.iter().all(|scope| other.contains(scope))
    }

    /// What both grant.
    pub fn intersect(&self, other: &Self) -> Self {
        self.intersect_names(other.iter())
    }

    pub(crate) fn intersect_names<'a>(&self, names: impl Iterator<Item = &'a str>) -> Self {
        let mut list = Vec::new();
        for name in names {
            if self.contains(name) {
                list.push(name.to_owned());
            }
            list.extend(
                self.iter()
                    .filter(|own| covers(name, own))
                    .map(str::to_owned),
            );
        }
        list.sort_unstable();
        list.dedup();
        Self(list)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.join(","))
    }
}

pub(crate) fn is_scope(bytes: &[u8]) -> bool {
    (1..=MAX_SCOPE_LEN).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'*' | b'-'))
}

/// Whether the grant `grant` includes `scope`.
pub(crate) fn covers(grant: &str, scope: &str) -> bool {
    if grant == "*" || grant == scope {
        return true;
    }
    let parent = grant.strip_suffix(".*").unwrap_or(grant);
    scope
        .strip_prefix(parent)
        .is_some_and(|rest| rest.starts_with('.'))
}
