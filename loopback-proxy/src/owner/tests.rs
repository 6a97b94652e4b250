use super::*;
use std::net::{Ipv6Addr, TcpListener, TcpStream};

type Source = fn(SocketAddr, SocketAddr) -> std::io::Result<Option<Row>>;

fn diag(client: SocketAddr, server: SocketAddr) -> std::io::Result<Option<Row>> {
    sock_diag::SockDiag::open()?.look_up(client, server)
}

const SOURCES: [(&str, Source); 2] = [("sock_diag", diag), ("procfs", procfs::look_up)];

fn pair(listen: &str) -> (TcpStream, TcpStream, SocketAddr, SocketAddr) {
    let listener = TcpListener::bind(listen).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    let local = server.local_addr().unwrap();
    (client, server, peer, local)
}

#[test]
fn a_connection_of_ours_is_known_in_both_families_by_both_sources() {
    let uid = rustix::process::geteuid().as_raw();
    for listen in ["127.0.0.1:0", "127.0.0.9:0", "[::1]:0"] {
        let (_client, _server, peer, local) = pair(listen);
        for (name, source) in SOURCES {
            let row = source(peer, local).unwrap();
            assert_eq!(judge(row, uid), Ok(()), "{name} {listen}");
            assert_eq!(
                judge(row, uid + 1),
                Err(NotOurs::OtherUser(uid)),
                "{name} {listen}"
            );
        }
    }
}

#[test]
fn an_ipv6_socket_that_speaks_ipv4_is_known() {
    use rustix::net::{AddressFamily, SocketType, connect, getsockname, socket};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let client = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
    let mapped = "::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap();
    connect(&client, &SocketAddr::from((mapped, local.port()))).unwrap();
    let (_server, peer) = listener.accept().unwrap();
    assert!(peer.is_ipv4() && getsockname(&client).is_ok());
    let uid = rustix::process::geteuid().as_raw();
    for (name, source) in SOURCES {
        assert_eq!(judge(source(peer, local).unwrap(), uid), Ok(()), "{name}");
    }
}

#[test]
fn a_closed_client_has_no_holder_and_a_listener_is_no_row() {
    let (client, _server, peer, local) = pair("127.0.0.1:0");
    drop(client);
    let absent = SocketAddr::from(([127, 0, 0, 1], 1));
    for (name, source) in SOURCES {
        let refused = judge(source(peer, local).unwrap(), 0);
        assert_eq!(refused, Err(NotOurs::NotEstablished), "{name}");
        assert_eq!(source(absent, local).unwrap(), None, "{name}");
    }
    let (_client, server, peer, local) = pair("127.0.0.1:0");
    let listener = TcpListener::bind(local);
    drop(server);
    drop(listener);
    let owners = Owners::probe();
    assert_eq!(owners.is_held(peer, local), Some(true));
    drop(_client);
    assert_eq!(owners.is_held(peer, local), Some(false));
}

#[test]
fn the_probe_prefers_socket_diagnostics() {
    assert!(matches!(Owners::probe(), Owners::SockDiag(..)));
}

#[test]
fn only_an_established_held_row_of_ours_passes() {
    let row = Row {
        established: true,
        inode: 5,
        uid: 1000,
    };
    assert_eq!(judge(Some(row), 1000), Ok(()));
    assert_eq!(judge(None, 1000), Err(NotOurs::NoRow));
    let half_closed = Row {
        established: false,
        ..row
    };
    assert_eq!(judge(Some(half_closed), 1000), Err(NotOurs::NotEstablished));
    assert_eq!(
        judge(Some(Row { inode: 0, ..row }), 1000),
        Err(NotOurs::NoHolder)
    );
    assert_eq!(
        judge(Some(Row { uid: 0, ..row }), 1000),
        Err(NotOurs::OtherUser(0))
    );
    let overflow = Row {
        uid: OVERFLOW_UID,
        ..row
    };
    assert_eq!(
        judge(Some(overflow), OVERFLOW_UID),
        Err(NotOurs::OverflowUser)
    );
}
