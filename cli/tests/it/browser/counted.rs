//! The proxy's own counters, as its status page shows them.

use std::collections::BTreeMap;

use crate::kit::{Running, curl, eventually};

/// What the proxy counted: requests that reached the agent, and refusals by reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) forwarded: u64,
    pub(crate) refused: BTreeMap<String, u64>,
}

impl Counted {
    pub(crate) fn read(up: &Running) -> Self {
        let counters = curl([up.url("/.homing/proxy")]).ok()["counters"].clone();
        let refused = counters["refused"].as_object().unwrap();
        Self {
            forwarded: counters["requests_forwarded"].as_u64().unwrap(),
            refused: refused
                .iter()
                .map(|(reason, count)| (reason.clone(), count.as_u64().unwrap()))
                .collect(),
        }
    }

    fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// These numbers with more refusals for one reason.
    fn and(mut self, count: u64, reason: &str) -> Self {
        *self.refused.get_mut(reason).unwrap() += count;
        self
    }
}

/// Waits for one more refusal, and checks that it is of this reason and that nothing was forwarded.
pub(crate) fn assert_refused(up: &Running, before: Counted, reason: &str, what: &str) {
    let more = assert_only_refused(up, before, reason, what);
    assert_eq!(more, 1, "{what}");
}

/// As [`assert_refused`], for as many refusals of this reason as came.
pub(crate) fn assert_only_refused(up: &Running, before: Counted, reason: &str, what: &str) -> u64 {
    let after = eventually(&format!("{what}: a refusal"), || {
        let now = Counted::read(up);
        (now.refusals() > before.refusals()).then_some(now)
    });
    let more = after.refusals() - before.refusals();
    assert_eq!(after, before.and(more, reason), "{what}");
    more
}
