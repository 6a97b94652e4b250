//! The built-in tools of an agent, put together. What each of them does is its own module's.

use std::sync::Arc;

use super::{
    ContainerLogsTool, ContainersTool, DevicesTool, FetchTool, JournalTool, NetworkTool,
    ProcessesTool, SensorsTool, ServicesTool, ShellSettings, ShellTool, SystemTool, TimeTool, Tool,
    WhoAmITool,
};
use crate::config::AgentSettings;
use crate::confine::Confinement;
use crate::connections::Connections;
use crate::store::Store;
use crate::system::SystemProbe;

/// All of them.
#[must_use]
pub fn builtin(
    settings: &AgentSettings,
    probe: &SystemProbe,
    store: &Store,
    connections: &Connections,
    confinement: &Confinement,
) -> Vec<Arc<dyn Tool>> {
    let tools = &settings.tools;
    let mut all: Vec<Arc<dyn Tool>> = vec![
        Arc::new(WhoAmITool),
        Arc::new(TimeTool),
        Arc::new(DevicesTool::new(store.clone(), connections.clone())),
        Arc::new(SystemTool::new(probe.clone())),
        Arc::new(NetworkTool::new(probe.clone())),
        Arc::new(ProcessesTool::new(probe.clone())),
        Arc::new(SensorsTool::new(probe.clone())),
        Arc::new(ContainersTool::new(&tools.containers)),
        Arc::new(ContainerLogsTool::new(&tools.containers)),
        Arc::new(ServicesTool::new(&tools.programs.systemctl)),
        Arc::new(JournalTool::new(&tools.programs.journalctl)),
    ];
    all.extend(files(settings));
    let roots = std::iter::once(settings.workspace()).chain(settings.shell_roots.clone());
    let shell = ShellSettings {
        roots: roots.collect(),
        unconfined_for_all: settings.policy.unconfined_for_all,
    };
    all.push(Arc::new(ShellTool::new(confinement.clone(), shell)));
    if tools.fetch.enabled {
        all.push(Arc::new(FetchTool::new(tools.fetch.clone())));
    }
    all
}

#[cfg(target_os = "linux")]
fn files(settings: &AgentSettings) -> Vec<Arc<dyn Tool>> {
    use super::{FileFolders, ListFilesTool, ReadFileTool, SearchFilesTool, WriteFileTool};
    let closed = vec![settings.hidden(), settings.dir.clone()];
    let folders = FileFolders::new(&settings.tools.files, settings.workspace(), closed);
    vec![
        Arc::new(ListFilesTool::new(folders.clone())),
        Arc::new(ReadFileTool::new(folders.clone())),
        Arc::new(SearchFilesTool::new(folders.clone())),
        Arc::new(WriteFileTool::new(folders)),
    ]
}

/// Only Linux keeps a path inside a folder.
#[cfg(not(target_os = "linux"))]
fn files(_: &AgentSettings) -> Vec<Arc<dyn Tool>> {
    vec![]
}
