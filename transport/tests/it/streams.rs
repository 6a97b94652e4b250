//! Streams of bytes: truncation is visible, stalled readers hurt nobody but themselves.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use homing_certs::Role;
use homing_protocol::alpn;
use homing_transport::admission::Admission;
use homing_transport::http::HttpStream;
use homing_transport::pool::Pool;
use homing_transport::{Connection, Protocol, Server, ServerLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::kit::{
    Network, TestAgent, admission, device_endpoint, gateway_endpoint, get, key, within,
};
use crate::pool::AloneAtHome;

async fn pool(network: &Network, agent: &TestAgent, shutdown: &CancellationToken) -> Pool {
    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let home = Arc::new(AloneAtHome);
    let (pool, driver) = Pool::new(device, agent.endpoint.reach(), credentials, home);
    tokio::spawn(driver.run(shutdown.clone()));
    pool
}

#[tokio::test]
async fn a_client_that_finishes_after_its_request_still_gets_the_answer() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let shutdown = CancellationToken::new();
    let pool = pool(&network, &agent, &shutdown).await;
    assert_eq!(
        get(pool.open().await.unwrap(), "/here").await.unwrap(),
        "/here"
    );
    shutdown.cancel();
    agent.stop().await;
}

#[tokio::test]
async fn a_request_cut_short_by_its_sender_is_never_taken_for_a_whole_one() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let shutdown = CancellationToken::new();
    let pool = pool(&network, &agent, &shutdown).await;
    let mut stream = pool.open().await.unwrap();
    stream
        .write_all(b"POST /cut HTTP/1.1\r\nhost: agent\r\ncontent-length: 10\r\n\r\n12345")
        .await
        .unwrap();
    stream.reset(7);
    let mut rest = Vec::new();
    let read = within("the end of the stream", stream.read_to_end(&mut rest)).await;
    assert!(
        read.is_err() || rest.is_empty(),
        "an answer came: {}",
        String::from_utf8_lossy(&rest)
    );
    assert_eq!(
        get(pool.open().await.unwrap(), "/next").await.unwrap(),
        "/next"
    );
    shutdown.cancel();
    agent.stop().await;
}

const PIECE: usize = 64;
/// More than fit the stream's window, so that the writer is blocked in the end.
const PIECES: usize = 30_000;

/// Writes small pieces to the first stream of a device that was admitted.
struct SmallPieces {
    admission: Admission,
    blocked: Arc<Notify>,
}

impl Protocol for SmallPieces {
    fn alpn(&self) -> &'static [u8] {
        alpn::GATEWAY
    }

    fn serve(
        self: Arc<Self>,
        connection: Connection,
        _shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let admitted = self.admission.admit(connection).await.unwrap();
            let HttpStream {
                mut stream,
                flusher,
            } = admitted.next_stream().await.unwrap();
            let write = async {
                for _ in 0..PIECES {
                    let piece = [b'x'; PIECE];
                    let mut written = std::pin::pin!(stream.write_all(&piece));
                    // A write that waits means that the reader has stalled: tell the test.
                    if tokio::time::timeout(Duration::from_millis(500), &mut written)
                        .await
                        .is_err()
                    {
                        self.blocked.notify_one();
                        written.await.unwrap();
                    }
                    // Lets noq send each piece by itself: without merging, the connection dies of
                    // about 2,000 unread chunks.
                    for _ in 0..8 {
                        tokio::task::yield_now().await;
                    }
                }
                stream.shutdown().await.unwrap();
            };
            tokio::join!(write, flusher.run());
            admitted.connection().closed().await;
        })
    }
}

#[tokio::test]
async fn small_writes_one_by_one_to_a_reader_that_stalls_do_not_end_the_connection() {
    let network = Network::new(10);
    let blocked = Arc::new(Notify::new());
    let endpoint = gateway_endpoint(&key(1), "127.0.0.1:0".parse().unwrap()).await;
    let (admission, _) = admission(&network, &key(1));
    let pieces = Arc::new(SmallPieces {
        admission,
        blocked: blocked.clone(),
    });
    let server = Server::new(endpoint.clone(), vec![pieces], ServerLimits::default());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server.run(shutdown.clone()));

    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let home = Arc::new(AloneAtHome);
    let (pool, driver) = Pool::new(device, endpoint.reach(), credentials, home);
    let driving = tokio::spawn(driver.run(shutdown.clone()));
    let (connection, _) = pool.connected().await.unwrap();
    let mut stream = pool.open().await.unwrap();
    stream.write_all(b"go").await.unwrap();

    within("the writer to block", blocked.notified()).await;
    assert!(
        connection.close_reason().is_none(),
        "{:?}",
        connection.close_reason()
    );
    let mut all = Vec::new();
    within("the rest", stream.read_to_end(&mut all))
        .await
        .unwrap();
    assert_eq!(all.len(), PIECE * PIECES);

    shutdown.cancel();
    driving.await.unwrap();
    serving.await.unwrap();
}
