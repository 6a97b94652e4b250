//! Rows from `/proc/net/tcp` and `tcp6`: the whole table for one row, so it serves only where
//! socket diagnostics are missing.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Row;

const ESTABLISHED: &str = "01";

pub(crate) fn look_up(client: SocketAddr, server: SocketAddr) -> io::Result<Option<Row>> {
    // An IPv4 connection may belong to an IPv6 socket, with mapped addresses.
    if let (IpAddr::V4(_), IpAddr::V4(_)) = (client.ip(), server.ip())
        && let Some(row) = find(&fs::read_to_string("/proc/net/tcp")?, client, server)
    {
        return Ok(Some(row));
    }
    match fs::read_to_string("/proc/net/tcp6") {
        Ok(table) => Ok(find(&table, client, server)),
        // A kernel without IPv6 has no such sockets.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn find(table: &str, client: SocketAddr, server: SocketAddr) -> Option<Row> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let local = address(columns.next()?)?;
        let remote = address(columns.next()?)?;
        if local != client || remote != server {
            return None;
        }
        let established = columns.next()? == ESTABLISHED;
        // Skipped: queues, timer, retransmits. Then the user; then a timeout and the inode.
        let uid = columns.nth(3)?.parse().ok()?;
        let inode = columns.nth(1)?.parse().ok()?;
        Some(Row {
            established,
            inode,
            uid,
        })
    })
}

/// `0100007F:1B9E`: words of the address in the machine's own order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        IpAddr::V4(Ipv4Addr::from(v4))
    } else {
        IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).to_canonical()
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
   0: 0100007F:1B9E 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 777 1 0000000000000000 100 0 0 10 0\n\
   1: 0100007F:C350 0100007F:1B9E 01 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0000000000000000 20 4 30 10 -1\n\
   2: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:1B9E 01 00000000:00000000 00:00000000 00000000    33        0 5 1 0 20 4 30 10 -1\n\
   3: 0100007F:C352 0100007F:1B9E 06 00000000:00000000 03:00000F9F 00000000     0        0 0 3 0000000000000000\n";

    #[test]
    fn the_exact_tuple_is_found_in_either_family() {
        let server = "127.0.0.1:7070".parse().unwrap();
        let row = |port: u16| find(TABLE, SocketAddr::from(([127, 0, 0, 1], port)), server);
        assert_eq!(
            row(50000),
            Some(Row {
                established: true,
                inode: 31337,
                uid: 1000
            })
        );
        assert_eq!(
            row(50001),
            Some(Row {
                established: true,
                inode: 5,
                uid: 33
            })
        );
        assert_eq!(
            row(50002),
            Some(Row {
                established: false,
                inode: 0,
                uid: 0
            })
        );
        assert_eq!(row(50003), None);
        assert_eq!(row(7070), None);
    }
}
