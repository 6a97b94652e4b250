//! What is measured: ours, the floors below it, and the rivals. Each file starts one of them, says
//! its version, and stops it.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::child::Child;

pub(crate) mod direct;
pub(crate) mod dumbpipe;
pub(crate) mod homing;
pub(crate) mod iroh;
pub(crate) mod prototypes;
pub(crate) mod quinn;
pub(crate) mod rathole;
pub(crate) mod ssh;
pub(crate) mod talking;

/// The name of the product in tables.
pub(crate) const OURS: &str = "homing";

/// An HTTP server as a client sees it, however far away it really is.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) name: &'static str,
    /// Where the client connects.
    pub(crate) address: SocketAddr,
    /// The near end, then the far end; without the origin, which is a process of the bench.
    pub(crate) ends: Vec<Child>,
    /// Whether the far end answers itself, so that its CPU time includes the answers.
    pub(crate) answers: bool,
}

impl Front {
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.ends.iter().map(Child::pid).collect()
    }

    pub(crate) async fn stop(self) {
        for end in self.ends {
            end.stop().await;
        }
    }
}

/// The address of a child's ready line.
pub(crate) fn address(child: &Child) -> Result<SocketAddr> {
    Ok(child.text("address")?.parse()?)
}

/// The first line that `program version` prints; both streams are read, as ssh answers on stderr.
pub(crate) fn version(program: &str, argument: &str) -> String {
    let output = std::process::Command::new(program).arg(argument).output();
    let text = output
        .map(|output| [output.stdout, output.stderr].concat())
        .unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or("not installed")
        .to_owned()
}

/// Whether a program is on the `PATH`.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        || Path::new("/usr/sbin").join(program).is_file()
}
