//! The machine around the program: other users, small file systems, memory of a process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::kit::{Dir, Running, curl};

/// A user that is not the tests' own.
pub(crate) const OTHER_USER: &str = "65534";

/// Runs a program as another Unix user.
pub(crate) fn as_other_user<S: AsRef<OsStr>>(program: &[S]) -> Output {
    Command::new("setpriv")
        .args(["--reuid", OTHER_USER, "--regid", OTHER_USER])
        .args(["--clear-groups", "--"])
        .args(program)
        .output()
        .expect("setpriv is installed, and the tests run as root")
}

/// What the loopback proxy counted.
pub(crate) fn counters(of: &Running) -> Value {
    curl([of.url("/.homing/proxy")]).ok()["counters"].clone()
}

/// How often the proxy refused for this reason.
pub(crate) fn refusals(of: &Running, reason: &str) -> u64 {
    let counters = counters(of);
    counters["refused"][reason]
        .as_u64()
        .unwrap_or_else(|| panic!("no {reason} in {counters}"))
}

/// Most memory that a process has had, in KiB.
pub(crate) fn peak_memory(of: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", of.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("not a size: {line}"))
}

/// Forgets the peak of a process, so that the next one is of what happens next.
pub(crate) fn reset_peak_memory(of: &Running) {
    std::fs::write(format!("/proc/{}/clear_refs", of.pid()), "5").unwrap();
}

/// A file system of its own under a data directory, unmounted at the end.
pub(crate) struct SmallDisk {
    mounted_at: PathBuf,
}

impl SmallDisk {
    /// Mounts one of this size (as `mount` reads it) where the data directory will be.
    pub(crate) fn under(dir: &Dir, size: &str) -> Self {
        let mounted_at = dir.path();
        std::fs::create_dir_all(&mounted_at).unwrap();
        let options = format!("size={size},mode=700");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], &mounted_at);
        Self { mounted_at }
    }

    /// Changes the size while it is in use.
    pub(crate) fn resize(&self, size: &str) {
        mount(&["-o", &format!("remount,size={size}")], &self.mounted_at);
    }

    /// Fills what is left, with a file that the caller can remove.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.mounted_at.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        let block = [0_u8; 4096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process of a test that failed may still be there.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.mounted_at)
            .status();
    }
}

fn mount(args: &[&str], at: &Path) {
    let output = Command::new("mount").args(args).arg(at).output().unwrap();
    assert!(output.status.success(), "mount takes root: {output:?}");
}
