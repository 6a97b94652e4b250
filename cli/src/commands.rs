//! One file per command or family of commands: call what does the work, print what it said.

use crate::args::{
    AgentCommand, Args, AuditCommand, Command, CoordinatorCommand, KitCommand, SessionsCommand,
};
use crate::data_dir::DataDir;
use crate::output::Output;

mod agent;
mod agents;
mod approvals;
mod approve;
mod audit;
mod backup;
mod chat;
mod config;
mod coordinator;
mod devices;
mod dial;
mod doctor;
mod first_run;
mod invite;
pub(crate) mod join;
mod kit;
mod logs;
mod manual;
mod mcp;
mod models;
pub(crate) mod network;
mod providers;
mod proxy;
mod restart;
mod restore;
mod revoke;
mod serving;
mod sessions;
mod status;
mod up;
mod usage;

/// Runs the command that was asked for.
pub(crate) async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let creates = matches!(
        args.command,
        Command::Up(_)
            | Command::Join(_)
            | Command::Restore(_)
            | Command::Agent(AgentCommand::Run(_))
            | Command::Coordinator(CoordinatorCommand::Run(_))
    );
    match &args.command {
        Command::Completions { shell } => return manual::completions(*shell),
        Command::Man => return manual::man(),
        _ => {}
    }
    let dir = DataDir::open(args.dir, creates)?;
    match args.command {
        Command::Up(up) => up::run(&dir, up, output).await,
        Command::Invite(invite) => invite::run(&dir, invite, output).await,
        Command::Join(join) => join::run(&dir, join, output).await,
        Command::Dial(dial) => dial::run(&dir, dial.agent, output).await,
        Command::Proxy(proxy) => proxy::run(&dir, proxy, output).await,
        Command::Devices => devices::list(&dir, output).await,
        Command::Rename { device, name } => devices::rename(&dir, device, name, output).await,
        Command::Revoke(revoke) => revoke::run(&dir, revoke, output).await,
        Command::Chat(chat) => chat::run(&dir, chat, output).await,
        Command::Sessions { agent, command } => {
            let command = command.unwrap_or(SessionsCommand::List);
            sessions::run(&dir, agent.as_deref(), command, output).await
        }
        Command::Logs(logs) => logs::run(&dir, logs, output).await,
        Command::Agents => agents::list(&dir, output).await,
        Command::Pending => approve::pending(&dir, output).await,
        Command::Approve { device, code } => approve::approve(&dir, device, code, output).await,
        Command::Deny { device } => approve::deny(&dir, device, output).await,
        Command::Providers(args) => providers::run(&dir, args, output).await,
        Command::Models(args) => models::run(&dir, args, output).await,
        Command::Mcp(args) => mcp::run(&dir, args, output).await,
        Command::Approvals { command } => approvals::run(&dir, command, output).await,
        Command::Status => status::run(&dir, output).await,
        Command::Doctor => doctor::run(&dir, output).await,
        Command::Config(args) => config::run(&dir, args, output).await,
        Command::Restart { agent } => restart::run(&dir, agent.as_deref(), output).await,
        Command::Usage { days } => usage::run(&dir, days, output).await,
        Command::Kit(KitCommand::Export { file }) => kit::export(&dir, &file, output),
        Command::Kit(KitCommand::Verify { file }) => kit::verify(&dir, &file, output),
        Command::Backup(backup) => backup::run(&dir, &backup, output).await,
        Command::Restore(restore) => restore::run(&dir, &restore, output).await,
        Command::Coordinator(CoordinatorCommand::Run(run)) => {
            coordinator::run(&dir, run, output).await
        }
        Command::Coordinator(CoordinatorCommand::Resume { without_newest_log }) => {
            coordinator::resume(&dir, without_newest_log, output).await
        }
        Command::Agent(AgentCommand::Run(run)) => agent::run(&dir, run, output).await,
        Command::Audit(AuditCommand::Verify) => audit::verify(&dir, output),
        Command::Completions { .. } | Command::Man => Ok(()),
    }
}
