//! A web site that is not the agent's: one empty page under every path.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

const PAGE: &str =
    "<!doctype html><title>elsewhere</title><link rel=icon href='data:,'><p>elsewhere";

/// The site, served until the test's process ends.
pub(crate) struct Site {
    pub(crate) port: u16,
}

impl Site {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || answer(&stream));
            }
        });
        Self { port }
    }
}

fn answer(mut stream: &TcpStream) {
    let head = BufReader::new(stream).lines().map_while(Result::ok);
    if head.take_while(|line| !line.is_empty()).count() > 0 {
        // A browser that has gone needs no answer.
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{PAGE}",
            PAGE.len()
        );
    }
}
