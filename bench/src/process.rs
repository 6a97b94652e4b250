//! What the kernel says of processes: CPU time, resident memory, children. Linux only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// A kernel tick of `/proc/<pid>/stat`; Linux reports it as 100 a second on every platform that we run on.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// Size of a page in `/proc/<pid>/statm` on the platforms that we run on.
const PAGE: u64 = 4096;

/// CPU time that these processes and all their descendants have used, ended children included.
pub(crate) fn cpu(roots: &[u32]) -> Result<Duration> {
    let mut ticks = 0;
    for pid in tree(roots)? {
        // A process that ended between the listing and here is counted by its parent.
        if let Some(stat) = Stat::read(pid) {
            ticks += stat.ticks;
        }
    }
    Ok(TICK * u32::try_from(ticks).context("CPU ticks")?)
}

/// CPU time of all processes but these and their descendants, by the kernel's exact account of each.
/// It goes down when a process ends whose parent does not ask for its time.
pub(crate) fn cpu_of_others(roots: &[u32]) -> Result<Duration> {
    let own = tree(roots)?;
    let all = all()?.into_iter().filter(|(pid, _)| !own.contains(pid));
    let ticks: u64 = all.map(|(_, stat)| stat.ticks).sum();
    Ok(TICK * u32::try_from(ticks).context("CPU ticks")?)
}

/// Resident memory of these processes and all their descendants, in bytes.
pub(crate) fn rss(roots: &[u32]) -> Result<u64> {
    let resident = |pid: u32| {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        statm.split(' ').nth(1)?.parse::<u64>().ok()
    };
    Ok(tree(roots)?.into_iter().filter_map(resident).sum::<u64>() * PAGE)
}

/// The load averages of one, five and fifteen minutes, as the kernel prints them.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The processor's name and number, and the memory of this machine.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(": ").nth(1))
            .unwrap_or("unknown")
            .to_owned()
    };
    let flags = field("flags");
    let flag = |name| flags.split(' ').any(|flag| flag == name);
    let count = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{count} × {}, AES-NI {}, VAES {}, {} GiB, Linux {}",
        field("model name"),
        if flag("aes") { "yes" } else { "no" },
        if flag("vaes") { "yes" } else { "no" },
        kib.unwrap_or_default().div_ceil(1024 * 1024),
        kernel.trim()
    )
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in parentheses may hold anything, so fields are counted from its end.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            // utime, stime and those of children that were waited for.
            ticks: number(11)? + number(12)? + number(13)? + number(14)?,
        })
    }
}

fn all() -> Result<Vec<(u32, Stat)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc cannot be read")? {
        let name = entry.context("/proc cannot be read")?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        found.extend(pid.and_then(|pid| Some((pid, Stat::read(pid)?))));
    }
    Ok(found)
}

fn tree(roots: &[u32]) -> Result<BTreeSet<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, stat) in all()? {
        children.entry(stat.parent).or_default().push(pid);
    }
    let mut found = BTreeSet::new();
    let mut open = roots.to_vec();
    while let Some(pid) = open.pop() {
        if found.insert(pid) {
            open.extend(children.remove(&pid).unwrap_or_default());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b (c) S 3 7 7 0 -1 4194304 1 2 3 4 50 60 7 8 20 0 1 0 9 10 11";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 125));
    }

    #[test]
    fn this_process_uses_memory_and_its_child_counts() {
        let own = rss(&[std::process::id()]).unwrap();
        assert!(own > 100_000, "{own}");
        let mut child = std::process::Command::new("sleep")
            .arg("30")
            .spawn()
            .unwrap();
        let found = tree(&[std::process::id()]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()));
    }
}
