//! `homing backup`.
use crate::data_dir::DataDir;
use crate::output::Output;
pub(super) async fn run(_dir: &DataDir, _args: &crate::args::BackupArgs, _output: Output) -> anyhow::Result<()> { Ok(()) }
