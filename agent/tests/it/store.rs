//! The database across restarts: the replica of the trust state, and rows that belong to users.

use homing_agent::store::{MAX_EVENTS_PER_SESSION, Store, StoredTrust, TrustRow};
use homing_certs::{LogHash, LogHead, NodeId, REVOKED, RevocationEntry, RevokeReason, UnixTime};

fn row(wire: &[u8], epoch: u32, seq: u64, time: u64) -> TrustRow {
    let head = LogHead {
        root_epoch: epoch,
        seq,
        hash: LogHash::from([0; 32]),
    };
    TrustRow {
        wire: wire.to_vec(),
        head,
        floor: UnixTime(time),
    }
}

fn entry(device: u8, min_generation: u32) -> RevocationEntry {
    RevocationEntry {
        device: NodeId::from([device; 32]),
        min_generation,
        reason: RevokeReason::ALL[0],
    }
}

#[tokio::test]
async fn the_trust_replica_is_there_after_reopening_in_the_order_in_which_it_applies() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.db");
    let store = Store::open(&path).unwrap();
    assert_eq!(store.load_trust().await.unwrap(), StoredTrust::default());
    store.save_root(1, b"genesis".to_vec()).await.unwrap();
    store.save_root(1, b"genesis".to_vec()).await.unwrap();
    store.save_root(2, b"second".to_vec()).await.unwrap();
    store
        .save_delta(row(b"d1", 1, 1, 10), vec![entry(1, REVOKED)])
        .await
        .unwrap();
    store
        .save_delta(row(b"d2", 1, 2, 20), vec![entry(2, 7)])
        .await
        .unwrap();
    store
        .save_snapshot(row(b"s2", 1, 2, 25), vec![entry(3, REVOKED)])
        .await
        .unwrap();
    store
        .save_delta(row(b"d3", 1, 3, 30), vec![entry(2, REVOKED)])
        .await
        .unwrap();
    store
        .save_delta(row(b"e1", 2, 1, 40), vec![entry(4, 3)])
        .await
        .unwrap();
    store.save_heartbeat(row(b"h1", 2, 1, 50)).await.unwrap();
    store.save_heartbeat(row(b"old", 2, 1, 45)).await.unwrap();
    store.shutdown().await;

    let store = Store::open(&path).unwrap();
    let expected = StoredTrust {
        chain: vec![b"genesis".to_vec(), b"second".to_vec()],
        snapshot: Some(b"s2".to_vec()),
        deltas: vec![b"d3".to_vec(), b"e1".to_vec()],
        heartbeat: Some(b"h1".to_vec()),
        floor: UnixTime(50),
    };
    assert_eq!(store.load_trust().await.unwrap(), expected);
    let proof = async |device: u8| store.proof(NodeId::from([device; 32])).await.unwrap();
    assert_eq!(proof(1).await, Some(b"d1".to_vec()));
    assert_eq!(
        proof(2).await,
        Some(b"d3".to_vec()),
        "the entry that says the most"
    );
    assert_eq!(proof(3).await, None, "only the snapshot speaks of it");
    assert_eq!(proof(9).await, None);
}

#[tokio::test]
async fn only_the_first_snapshot_of_a_new_root_epoch_sets_the_floor_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("agent.db")).unwrap();
    let floor = async || store.load_trust().await.unwrap().floor;
    let snapshot = async |wire: &[u8], epoch, seq, time| {
        let row = row(wire, epoch, seq, time);
        store.save_snapshot(row, vec![]).await.unwrap();
    };
    snapshot(b"s1", 1, 1, 9_000).await;
    snapshot(b"s2", 1, 2, 100).await;
    assert_eq!(floor().await, UnixTime(9_000));
    snapshot(b"e2", 2, 0, 200).await;
    assert_eq!(floor().await, UnixTime(200));
    snapshot(b"e2 again", 2, 1, 150).await;
    assert_eq!(floor().await, UnixTime(200));
}

#[tokio::test]
async fn a_saved_entry_survives_without_an_orderly_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("agent.db")).unwrap();
    store
        .save_delta(row(b"d1", 1, 1, 10), vec![entry(1, REVOKED)])
        .await
        .unwrap();
    // What another process would find if this one died now.
    let copy = tempfile::tempdir().unwrap();
    for item in std::fs::read_dir(dir.path()).unwrap() {
        let item = item.unwrap();
        std::fs::copy(item.path(), copy.path().join(item.file_name())).unwrap();
    }
    let after = Store::open(&copy.path().join("agent.db")).unwrap();
    assert_eq!(after.load_trust().await.unwrap().deltas, [b"d1".to_vec()]);
}

#[tokio::test]
async fn many_writers_at_once_get_their_own_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("agent.db")).unwrap();
    let user = homing_certs::UserId::from([1; 16]);
    let published = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (store, published) = (store.clone(), published.clone());
        tasks.spawn(async move {
            let bodies = vec!["{}".to_owned(); 3];
            let publish = move |events: &[homing_agent::store::LoggedEvent]| {
                published
                    .lock()
                    .unwrap()
                    .extend(events.iter().map(|event| event.seq));
            };
            store
                .append_events(user, "s".into(), None, bodies, publish)
                .await
                .unwrap();
        });
    }
    tasks.join_all().await;
    assert_eq!(*published.lock().unwrap(), (1..=600).collect::<Vec<u64>>());
    assert_eq!(store.last_seq(user, "s".into()).await.unwrap(), 600);
}

#[tokio::test]
async fn a_change_that_fails_takes_nothing_of_its_neighbours_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("agent.db")).unwrap();
    let good = store.save_delta(row(b"d1", 1, 1, 10), vec![]);
    let bad = store.save_delta(row(b"d2", 1, u64::MAX, 10), vec![]);
    let also_good = store.save_delta(row(b"d3", 1, 3, 10), vec![]);
    let (good, bad, also_good) = tokio::join!(good, bad, also_good);
    good.unwrap();
    bad.unwrap_err();
    also_good.unwrap();
    assert_eq!(
        store.load_trust().await.unwrap().deltas,
        [b"d1".to_vec(), b"d3".to_vec()]
    );
}

#[tokio::test]
async fn a_closed_database_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("agent.db")).unwrap();
    store.shutdown().await;
    store.save_root(1, vec![]).await.unwrap_err();
}

#[tokio::test]
async fn the_oldest_events_go_when_a_session_has_too_many_and_numbers_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("agent.db")).unwrap();
    let user = homing_certs::UserId::from([1; 16]);
    let total = MAX_EVENTS_PER_SESSION + 1_000;
    for _ in 0..total / 500 {
        let bodies = vec!["{}".to_owned(); 500];
        store
            .append_events(user, "s".into(), None, bodies, |_| {})
            .await
            .unwrap();
    }
    let all = usize::try_from(total).unwrap();
    let left = store.events_after(user, "s".into(), 0, all).await.unwrap();
    assert_eq!(left.last().unwrap().seq, total);
    assert_eq!(left[0].seq, total - MAX_EVENTS_PER_SESSION + 1);
    assert!(left.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
}

#[tokio::test]
async fn the_history_after_a_position_is_the_entries_that_follow_on_it_or_a_snapshot_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("agent.db")).unwrap();
    for seq in 1..=3 {
        let wire = [u8::try_from(seq).unwrap()];
        store
            .save_delta(row(&wire, 1, seq, 10), vec![])
            .await
            .unwrap();
    }
    assert_eq!(store.history(1, 1).await.unwrap(), [vec![2], vec![3]]);
    assert!(store.history(1, 3).await.unwrap().is_empty());
    // Entries 4 and 5 came inside a snapshot: who lacks them gets it whole.
    store
        .save_snapshot(row(b"all", 1, 5, 11), vec![])
        .await
        .unwrap();
    store.save_delta(row(&[6], 1, 6, 12), vec![]).await.unwrap();
    assert_eq!(
        store.history(1, 2).await.unwrap(),
        [b"all".to_vec(), vec![6]]
    );
    assert_eq!(store.history(1, 5).await.unwrap(), [vec![6]]);
    assert_eq!(
        store.history(1, 3).await.unwrap(),
        [b"all".to_vec(), vec![6]]
    );
    store.shutdown().await;
}

#[tokio::test]
async fn a_copy_is_whole_while_the_database_is_in_use_and_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.db");
    let store = Store::open(&path).unwrap();
    store.save_root(1, b"genesis".to_vec()).await.unwrap();
    let copy = dir.path().join("copy.db");
    homing_agent::store::copy_database(&path, &copy).unwrap();
    store.save_root(2, b"later".to_vec()).await.unwrap();
    let opened = Store::open(&copy).unwrap();
    assert_eq!(
        opened.load_trust().await.unwrap().chain,
        [b"genesis".to_vec()]
    );
    assert!(homing_agent::store::copy_database(&path, &copy).is_err());
    opened.shutdown().await;
    store.shutdown().await;
}
