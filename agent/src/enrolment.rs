//! What an agent keeps of its enrolment with a ticket: the root documents and the revocation log of
//! that moment, on disk before the agent admits anybody for the first time.

use std::path::Path;

use homing_certs::TrustState;

use crate::store::{Store, StoreError, TrustRow};

/// Writes root documents and log into the database of the agent in `dir`, which must not run.
///
/// # Errors
/// When the database fails; enrolment may be repeated then.
pub async fn keep(dir: &Path, trust: &TrustState, snapshot: Vec<u8>) -> Result<(), StoreError> {
    let path = dir.join("agent.db");
    let opened = tokio::task::spawn_blocking(move || Store::open(&path)).await;
    let store = opened.map_err(|_| StoreError::Closed)??;
    let kept = write(&store, trust, snapshot).await;
    store.shutdown().await;
    kept
}

async fn write(store: &Store, trust: &TrustState, snapshot: Vec<u8>) -> Result<(), StoreError> {
    for (epoch, wire) in (homing_certs::GENESIS_EPOCH..).zip(trust.chain().wires()) {
        store.save_root(epoch, wire.clone()).await?;
    }
    let row = TrustRow {
        wire: snapshot,
        head: trust.head(),
        floor: trust.newest_signed_time(),
    };
    store.save_snapshot(row, trust.entries().collect()).await
}
