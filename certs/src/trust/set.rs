//! The revocation set: a large shared map and a small recent one, so that a clone costs two
//! pointers and one more entry does not copy 100,000.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use crate::ids::NodeId;
use crate::log::{RevocationEntry, RevokeReason};

/// Entries of the recent map before it is merged into the large one: small enough to copy for
/// every change, large enough that merging is rare.
const MAX_RECENT: usize = 1024;

/// A fixed hash function, as this crate draws no random numbers. Keys get in only by the signer's
/// hand, so nobody else chooses which collide.
type Map = HashMap<NodeId, (u32, RevokeReason), BuildHasherDefault<DefaultHasher>>;

#[derive(Debug, Clone, Default)]
pub(crate) struct RevocationSet {
    base: Arc<Map>,
    /// Shadows `base`.
    recent: Arc<Map>,
    len: usize,
}

impl RevocationSet {
    pub(crate) fn get(&self, device: &NodeId) -> Option<(u32, RevokeReason)> {
        self.recent
            .get(device)
            .or_else(|| self.base.get(device))
            .copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = RevocationEntry> + '_ {
        let old = self
            .base
            .iter()
            .filter(|(device, _)| !self.recent.contains_key(*device));
        old.chain(self.recent.iter())
            .map(|(device, (min_generation, reason))| RevocationEntry {
                device: *device,
                min_generation: *min_generation,
                reason: *reason,
            })
    }

    /// Raises the entry's device to its generation; says whether that changed anything. Of two
    /// reasons for one generation the higher number stays, so that the order does not matter.
    pub(crate) fn raise(&mut self, entry: &RevocationEntry) -> bool {
        let value = (entry.min_generation, entry.reason);
        let old = self.get(&entry.device);
        if old.is_some_and(|old| (old.0, old.1 as u8) >= (value.0, value.1 as u8)) {
            return false;
        }
        self.len += usize::from(old.is_none());
        Arc::make_mut(&mut self.recent).insert(entry.device, value);
        if self.recent.len() > MAX_RECENT {
            let base = Arc::make_mut(&mut self.base);
            base.extend(self.recent.iter().map(|(device, value)| (*device, *value)));
            self.recent = Arc::default();
        }
        old.is_none_or(|old| old.0 < value.0)
    }
}

impl FromIterator<RevocationEntry> for RevocationSet {
    fn from_iter<I: IntoIterator<Item = RevocationEntry>>(entries: I) -> Self {
        let mut base = Map::default();
        let entries = entries.into_iter();
        base.reserve(entries.size_hint().0);
        for entry in entries {
            let value = (entry.min_generation, entry.reason);
            let kept = base.entry(entry.device).or_insert(value);
            if (kept.0, kept.1 as u8) < (value.0, value.1 as u8) {
                *kept = value;
            }
        }
        let len = base.len();
        Self {
            base: Arc::new(base),
            recent: Arc::default(),
            len,
        }
    }
}
