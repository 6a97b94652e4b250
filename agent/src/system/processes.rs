//! The processes that use most. Names only: a command line may hold secrets.

use serde::Serialize;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind, Users};

use super::ProbeFailed;
use super::machine::{CPU_WINDOW, tenths};

/// Processes told at once; more only fills a model's context.
pub const MAX_PROCESSES: usize = 50;

/// What "most" means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProcessOrder {
    /// Time on the CPU.
    #[default]
    Cpu,
    /// Resident memory.
    Memory,
}

/// Some of the processes.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessReading {
    /// Who uses most comes first.
    pub processes: Vec<RunningProcess>,
    /// Processes that there are.
    pub total: usize,
}

/// One process.
#[derive(Debug, Clone, Serialize)]
pub struct RunningProcess {
    /// Its number.
    pub pid: u32,
    /// Its name, without arguments.
    pub name: String,
    /// Whose it is: a name, or a number where there is none.
    pub user: String,
    /// Use of the CPU, where 100 is one core.
    pub cpu_percent: f32,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
    /// Seconds since it started.
    pub running_seconds: u64,
}

pub(super) fn read(order: ProcessOrder, limit: usize) -> Result<ProcessReading, ProbeFailed> {
    // Its own reader, dropped again: a kept one holds memory and an open file for each process.
    let mut system = System::new().map_err(|_| ProbeFailed)?;
    let what = ProcessRefreshKind::nothing()
        .with_memory()
        .with_cpu()
        .with_user(UpdateKind::OnlyIfNotSet);
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    std::thread::sleep(CPU_WINDOW);
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    let users = Users::new_with_refreshed_list().ok();
    let user = |process: &sysinfo::Process| {
        let Some(id) = process.effective_user_id() else {
            return "?".to_owned();
        };
        let known = users.as_ref().and_then(|users| users.get_user_by_id(id));
        known.map_or_else(|| id.to_string(), |user| user.name().to_owned())
    };
    let mut all: Vec<&sysinfo::Process> = system
        .processes()
        .values()
        .filter(|process| process.thread_kind().is_none())
        .collect();
    all.sort_by(|a, b| {
        let most = match order {
            ProcessOrder::Cpu => b.cpu_usage().total_cmp(&a.cpu_usage()),
            ProcessOrder::Memory => b.memory().cmp(&a.memory()),
        };
        most.then_with(|| a.pid().cmp(&b.pid()))
    });
    let processes = all.iter().take(limit.min(MAX_PROCESSES));
    Ok(ProcessReading {
        total: all.len(),
        processes: processes
            .map(|process| RunningProcess {
                pid: process.pid().as_u32(),
                name: process.name().to_string_lossy().into_owned(),
                user: user(process),
                cpu_percent: tenths(process.cpu_usage()),
                memory_bytes: process.memory(),
                running_seconds: process.run_time(),
            })
            .collect(),
    })
}
