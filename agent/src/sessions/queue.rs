//! Which turn runs and which waits, pure.
//!
//! One turn runs per device and one per session. A device's turns start in the order in which they
//! came; when several devices wait, the oldest turn that can start does. A turn that waits for a
//! person is parked: it keeps its session and lets its device's turns in other sessions pass.

use std::collections::{HashMap, HashSet, VecDeque};

use homing_certs::NodeId;

use super::SessionKey;

/// Turns of one device that may wait.
pub const MAX_QUEUED: usize = 20;
/// Turns of one device that may be parked; the next one keeps its device busy.
const MAX_PARKED: usize = 20;

/// A turn in the queue. Ids rise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) turn_id: i64,
    pub(super) device: NodeId,
    pub(super) key: SessionKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue of this device is full")]
pub(super) struct QueueFull;

#[derive(Debug, Default)]
pub(super) struct RunQueue {
    running: HashMap<i64, Run>,
    parked: HashSet<i64>,
    waiting: HashMap<NodeId, VecDeque<Run>>,
}

impl RunQueue {
    /// Where a new turn would stand: 0 starts at once.
    pub(super) fn position(&self, device: NodeId, key: &SessionKey) -> Result<usize, QueueFull> {
        let waiting = self.waiting.get(&device).map_or(0, VecDeque::len);
        if self.starts(device, key) {
            return Ok(0);
        }
        if waiting >= MAX_QUEUED {
            Err(QueueFull)
        } else {
            Ok(waiting + 1)
        }
    }

    /// Adds a turn. True when it starts at once.
    pub(super) fn push(&mut self, run: Run) -> bool {
        if self.starts(run.device, &run.key) {
            self.running.insert(run.turn_id, run);
            return true;
        }
        self.waiting.entry(run.device).or_default().push_back(run);
        false
    }

    /// Ends a turn and gives those that start now.
    pub(super) fn finished(&mut self, turn_id: i64) -> Vec<Run> {
        self.running.remove(&turn_id);
        self.parked.remove(&turn_id);
        self.start_waiting()
    }

    /// A running turn does nothing but wait for a person, or goes on. Gives those that start now. One
    /// that goes on runs beside what its device started meanwhile.
    pub(super) fn park(&mut self, turn_id: i64, waits: bool) -> Vec<Run> {
        let Some(run) = self.running.get(&turn_id) else {
            return vec![];
        };
        if !waits {
            self.parked.remove(&turn_id);
            return vec![];
        }
        let of_device = |id: &&i64| {
            let other = self.running.get(*id);
            other.is_some_and(|other| other.device == run.device)
        };
        if self.parked.iter().filter(of_device).count() < MAX_PARKED {
            self.parked.insert(turn_id);
        }
        self.start_waiting()
    }

    /// Removes the waiting turns for which `which` holds, oldest first, and gives those that start now.
    pub(super) fn remove(&mut self, which: impl Fn(&Run) -> bool) -> (Vec<Run>, Vec<Run>) {
        let mut removed = Vec::new();
        for queue in self.waiting.values_mut() {
            let (out, stay) = queue.drain(..).partition(|run| which(run));
            let out: VecDeque<Run> = out;
            removed.extend(out);
            *queue = stay;
        }
        removed.sort_by_key(|run| run.turn_id);
        (removed, self.start_waiting())
    }

    pub(super) fn running_in(&self, key: &SessionKey) -> bool {
        self.running.values().any(|run| run.key == *key)
    }

    pub(super) fn waiting_in(&self, key: &SessionKey) -> usize {
        self.waiting
            .values()
            .flatten()
            .filter(|run| run.key == *key)
            .count()
    }

    /// Whether a new turn would start at once: nothing holds its device or its session, and nothing
    /// of its device stands in front of it but what waits for a parked turn.
    fn starts(&self, device: NodeId, key: &SessionKey) -> bool {
        let session_is_free = self.running.values().all(|run| run.key != *key);
        let waiting = self.waiting.get(&device);
        let first = waiting.is_none_or(|queue| queue.iter().all(|run| self.behind_parked(run)));
        session_is_free && first && !self.busy(device)
    }

    fn busy(&self, device: NodeId) -> bool {
        self.running
            .values()
            .any(|run| run.device == device && !self.parked.contains(&run.turn_id))
    }

    fn behind_parked(&self, waiting: &Run) -> bool {
        let mut parked = self.parked.iter().filter_map(|id| self.running.get(id));
        parked.any(|run| run.key == waiting.key)
    }

    fn start_waiting(&mut self) -> Vec<Run> {
        self.waiting.retain(|_, queue| !queue.is_empty());
        let first = |queue: &VecDeque<Run>| {
            let run = queue.iter().find(|run| !self.behind_parked(run));
            run.map(|run| (run.turn_id, run.device))
        };
        let mut heads: Vec<(i64, NodeId)> = self.waiting.values().filter_map(first).collect();
        heads.sort_by_key(|(turn_id, _)| *turn_id);
        let mut busy: HashSet<SessionKey> =
            self.running.values().map(|run| run.key.clone()).collect();
        let mut started = Vec::new();
        for (turn_id, device) in heads {
            let idle = !self.busy(device);
            let Some(queue) = self.waiting.get_mut(&device) else {
                continue;
            };
            let at = queue.iter().position(|run| run.turn_id == turn_id);
            let startable = |at: &usize| idle && !busy.contains(&queue[*at].key);
            if let Some(run) = at.filter(startable).and_then(|at| queue.remove(at)) {
                busy.insert(run.key.clone());
                self.running.insert(run.turn_id, run.clone());
                started.push(run);
            }
        }
        started
    }
}

#[cfg(test)]
mod tests {
    use homing_certs::UserId;
    use proptest::prelude::*;

    use super::*;

    fn run(turn_id: i64, device: u8, session: &str) -> Run {
        let key = SessionKey {
            user: UserId::from([1; 16]),
            session: session.to_owned(),
        };
        Run {
            turn_id,
            device: NodeId::from([device; 32]),
            key,
        }
    }

    fn ids(runs: &[Run]) -> Vec<i64> {
        runs.iter().map(|run| run.turn_id).collect()
    }

    #[test]
    fn turns_of_a_device_run_one_after_the_other_in_their_order() {
        let mut queue = RunQueue::default();
        assert!(queue.push(run(1, 1, "a")));
        assert_eq!(
            queue.position(run(2, 1, "b").device, &run(2, 1, "b").key),
            Ok(1)
        );
        assert!(!queue.push(run(2, 1, "b")));
        assert!(!queue.push(run(3, 1, "c")));
        assert_eq!(ids(&queue.finished(1)), [2]);
        assert_eq!(ids(&queue.finished(2)), [3]);
        assert!(queue.finished(3).is_empty());
    }

    #[test]
    fn devices_run_beside_each_other_but_not_in_the_same_session() {
        let mut queue = RunQueue::default();
        assert!(queue.push(run(1, 1, "a")));
        assert!(queue.push(run(2, 2, "b")));
        assert!(!queue.push(run(3, 3, "a")));
        assert!(queue.finished(2).is_empty());
        assert_eq!(ids(&queue.finished(1)), [3]);
    }

    #[test]
    fn one_over_the_limit_is_refused() {
        let mut queue = RunQueue::default();
        queue.push(run(0, 1, "a"));
        for turn in 1..=20 {
            let next = run(turn, 1, "a");
            let position = queue.position(next.device, &next.key);
            assert_eq!(position, Ok(usize::try_from(turn).unwrap()));
            queue.push(next);
        }
        let next = run(99, 1, "a");
        assert_eq!(queue.position(next.device, &next.key), Err(QueueFull));
    }

    #[test]
    fn removing_what_stands_in_front_lets_the_next_start() {
        let mut queue = RunQueue::default();
        queue.push(run(1, 1, "a"));
        queue.push(run(2, 2, "a"));
        queue.push(run(3, 2, "b"));
        let (removed, started) = queue.remove(|run| run.key.session == "a");
        assert_eq!((ids(&removed), ids(&started)), (vec![2], vec![3]));
    }

    #[test]
    fn a_parked_turn_holds_its_session_and_lets_its_devices_other_sessions_pass() {
        let mut queue = RunQueue::default();
        assert!(queue.push(run(1, 1, "a")));
        assert!(!queue.push(run(2, 1, "a")));
        assert!(!queue.push(run(3, 1, "b")));
        assert_eq!(ids(&queue.park(1, true)), [3]);
        assert!(!queue.push(run(4, 1, "c")), "one at a time");
        assert_eq!(ids(&queue.finished(3)), [4]);
        assert!(queue.finished(4).is_empty());
        assert!(
            queue.push(run(5, 1, "d")),
            "nothing but parked turns in front"
        );
        assert!(queue.park(1, false).is_empty());
        assert!(queue.finished(5).is_empty(), "it holds its device again");
        assert_eq!(ids(&queue.finished(1)), [2]);
    }

    #[test]
    fn a_device_with_too_many_parked_turns_is_busy() {
        let mut queue = RunQueue::default();
        for turn in 0..20 {
            assert!(queue.push(run(turn, 1, &turn.to_string())));
            queue.park(turn, true);
        }
        assert!(queue.push(run(20, 1, "one")));
        queue.park(20, true);
        assert!(!queue.push(run(21, 1, "another")));
        assert!(queue.finished(3).is_empty());
        assert_eq!(ids(&queue.park(20, true)), [21]);
    }

    proptest! {
        #[test]
        fn every_turn_runs_once_and_never_beside_one_of_its_device_or_session(
            turns in proptest::collection::vec((0u8..4, 0u8..3), 1..40), picks in proptest::collection::vec(0usize..8, 200)
        ) {
            let mut queue = RunQueue::default();
            let mut running: Vec<Run> = vec![];
            let mut seen = vec![];
            let mut picks = picks.into_iter();
            for (turn_id, (device, session)) in (0..).zip(&turns) {
                let run = run(turn_id, *device, &session.to_string());
                if queue.push(run.clone()) { running.push(run); }
            }
            while !running.is_empty() {
                for (at, one) in running.iter().enumerate() {
                    for other in &running[at + 1..] {
                        prop_assert!(one.device != other.device && one.key != other.key);
                    }
                }
                let done = running.remove(picks.next().unwrap_or(0) % running.len());
                seen.push(done.turn_id);
                running.extend(queue.finished(done.turn_id));
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..i64::try_from(turns.len()).unwrap()).collect::<Vec<_>>());
        }
    }
}
