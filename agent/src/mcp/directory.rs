//! Which servers each user has, and the tools that models are offered of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homing_certs::UserId;

use super::shared::Shared;
use crate::sessions::Speaker;
use crate::tools::{ToolMap, ToolSource};

/// Tools of all servers of a user that models are offered: providers refuse more than 128.
pub const MAX_OFFERED: usize = 120;
/// Bytes that their descriptions and schemas may take of a model's context.
pub const MAX_OFFERED_BYTES: usize = 256 << 10;

/// All servers of all users.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: Mutex<HashMap<UserId, User>>,
}

#[derive(Default)]
struct User {
    servers: BTreeMap<String, Arc<Shared>>,
    offered: Arc<ToolMap>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.servers.keys()).finish()
    }
}

impl Directory {
    pub(super) fn insert(&self, server: Arc<Shared>) {
        let user = server.user;
        let mut users = self.lock();
        let servers = &mut users.entry(user).or_default().servers;
        servers.insert(server.name.clone(), server);
        drop(users);
        self.rebuild(user);
    }

    pub(super) fn remove(&self, user: UserId, name: &str) {
        if let Some(user) = self.lock().get_mut(&user) {
            user.servers.remove(name);
        }
        self.rebuild(user);
    }

    pub(super) fn get(&self, user: UserId, name: &str) -> Option<Arc<Shared>> {
        self.lock().get(&user)?.servers.get(name).cloned()
    }

    pub(super) fn of(&self, user: UserId) -> Vec<Arc<Shared>> {
        let users = self.lock();
        let servers = users.get(&user).map(|user| user.servers.values().cloned());
        servers.into_iter().flatten().collect()
    }

    /// Puts the user's tools together anew, in the order of their names, up to what models bear.
    pub(super) fn rebuild(&self, user: UserId) {
        // All under one lock: of two that rebuild at once, the later one must win.
        let mut users = self.lock();
        let Some(user) = users.get_mut(&user) else {
            return;
        };
        let mut offered = ToolMap::new();
        let mut bytes = 0;
        for server in user.servers.values() {
            let mut left = 0;
            for tool in server.tools() {
                bytes += tool.size();
                if offered.len() < MAX_OFFERED && bytes <= MAX_OFFERED_BYTES {
                    offered.insert(tool.name().to_owned(), tool);
                } else {
                    left += 1;
                }
            }
            server.not_offered(left);
        }
        user.offered = Arc::new(offered);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ToolSource for Directory {
    fn tools(&self, speaker: &Speaker) -> Arc<ToolMap> {
        let users = self.lock();
        let user = users.get(&speaker.user_id);
        user.map(|user| user.offered.clone()).unwrap_or_default()
    }
}
