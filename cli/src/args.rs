//! The command line.

mod mcp;
mod models;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub(crate) use mcp::{AddMcpArgs, McpArgs, McpCommand};
pub(crate) use models::{
    AddModelArgs, AddProviderArgs, ModelsArgs, ModelsCommand, ProvidersArgs, ProvidersCommand,
};

/// Your own AI agent on your own machine, dialed by key from anywhere.
#[derive(Debug, Parser)]
#[command(name = "homing", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Data directory [default: $XDG_DATA_HOME/homing]
    #[arg(long, global = true, env = "HOMING_DIR", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more to stderr; again for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything here: coordinator, agent, loopback proxy
    Up(UpArgs),
    /// Print a ticket and its QR code for a new device
    Invite(InviteArgs),
    /// Enrol this device with a ticket
    Join(JoinArgs),
    /// Connect to an agent and say what happened
    Dial(DialArgs),
    /// Talk to the agent
    Chat(ChatArgs),
    /// Your conversations with the agent
    Sessions {
        /// NodeId or name of the agent; the only one when absent
        #[arg(long, global = true)]
        agent: Option<String>,
        #[command(subcommand)]
        command: Option<SessionsCommand>,
    },
    /// The newest lines of the agent's audit log
    Logs(LogsArgs),
    /// Run the loopback proxy alone, on a device that is not the host
    Proxy(ProxyArgs),
    /// List the devices of the network
    Devices,
    /// Revoke a device everywhere, at once
    Revoke(RevokeArgs),
    /// Give a device another name
    Rename {
        /// Name, or NodeId prefix of 8 or more
        device: String,
        /// The new name
        name: String,
    },
    /// List the agents of the network
    Agents,
    /// List devices that wait for approval
    Pending,
    /// Let a waiting device in
    Approve {
        /// Name, or NodeId prefix of 8 or more
        device: String,
        /// The check code that the device shows
        #[arg(long, value_name = "CODE")]
        code: String,
    },
    /// Turn a waiting device away
    Deny {
        /// Name, or NodeId prefix of 8 or more
        device: String,
    },
    /// The model APIs that the agent may ask
    Providers(ProvidersArgs),
    /// Which models may answer, and which of them does
    Models(ModelsArgs),
    /// MCP servers, whose tools models may use
    Mcp(McpArgs),
    /// What the agent wants to do and a person must approve
    Approvals {
        #[command(subcommand)]
        command: Option<ApprovalsCommand>,
    },
    /// Show on one screen what runs
    Status,
    /// Say what is wrong and what to do about it
    Doctor,
    /// Show what calls of models used and cost
    Usage {
        /// Day by day, this many days back
        #[arg(long, value_name = "N")]
        days: Option<u32>,
    },
    /// The settings of this directory, or of an agent elsewhere
    Config(ConfigArgs),
    /// Start the agent's process anew
    Restart {
        /// NodeId or name of the agent; the only one when absent
        #[arg(long)]
        agent: Option<String>,
    },
    /// The recovery kit: the root key, kept offline
    #[command(subcommand)]
    Kit(KitCommand),
    /// Write everything but the root and signer keys to one encrypted file
    Backup(BackupArgs),
    /// Put a backup into an empty directory
    Restore(RestoreArgs),
    /// The coordinator alone, for a split deployment
    #[command(subcommand)]
    Coordinator(CoordinatorCommand),
    /// The agent alone, for a split deployment
    #[command(subcommand)]
    Agent(AgentCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print a completion script
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List what waits
    List {
        /// Also what is over
        #[arg(long)]
        all: bool,
    },
    /// Show all of one
    Show {
        /// Its number
        id: i64,
    },
    /// Let it be done, once and exactly as shown
    Approve {
        /// Its number
        id: i64,
    },
    /// Refuse it
    Deny {
        /// Its number
        id: i64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check the hash chain of the audit logs in this directory
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KitCommand {
    /// Copy the recovery kit to a file, for a place that is offline
    Export {
        /// New file, best on a medium that you take away
        file: PathBuf,
    },
    /// Read a copy back, prove that it is this network's root, then delete the kit on this host
    Verify {
        /// The copy
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CoordinatorCommand {
    /// Run it; makes the network at first run
    Run(PartArgs),
    /// Go on after a restore: you have looked at the device list
    Resume {
        /// Go on although a newer revocation log is known to exist and cannot be had
        #[arg(long)]
        without_newest_log: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Run it; the first start needs a ticket of role agent
    Run(AgentRunArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PartArgs {
    /// Address of the QUIC socket, for example 0.0.0.0:7071
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Option<SocketAddr>,
    /// none, public, or URLs of your own relays, separated by commas
    #[arg(long, value_name = "RELAY")]
    pub(crate) relay: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AgentRunArgs {
    /// The ticket of the first start; - reads it from stdin
    #[arg(long, value_name = "TICKET")]
    pub(crate) ticket: Option<String>,
    /// Read the ticket from a file; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "ticket")]
    pub(crate) ticket_file: Option<PathBuf>,
    /// Name that this agent would like, when the invitation gives none
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) part: PartArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// New file
    pub(crate) file: PathBuf,
    /// Read the passphrase from the first line of a file instead of asking for it
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    pub(crate) file: PathBuf,
    /// The recovery kit; a backup of a coordinator needs it
    #[arg(long, value_name = "FILE")]
    pub(crate) kit: Option<PathBuf>,
    /// Read the passphrase from the first line of a file instead of asking for it
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    /// Port of the loopback proxy; 0 picks a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Address of the agent's QUIC socket, for example 0.0.0.0:7071
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Option<SocketAddr>,
    /// none, public, or URLs of your own relays, separated by commas
    #[arg(long, value_name = "RELAY")]
    pub(crate) relay: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InviteArgs {
    /// Name for the new device
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// client, node, bridge, agent or admin
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// Scopes, separated by commas; given once or more
    #[arg(long = "scope", value_name = "SCOPES", value_delimiter = ',')]
    pub(crate) scopes: Vec<String>,
    /// Handle of the user whose device it will be
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// How long the ticket is good for, for example 10m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// Somebody must approve the device before it is let in
    #[arg(long, conflicts_with = "no_approve")]
    pub(crate) approve: bool,
    /// Nobody need approve the device
    #[arg(long)]
    pub(crate) no_approve: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct JoinArgs {
    /// The ticket; - reads it from stdin
    #[arg(required_unless_present = "ticket_file")]
    pub(crate) ticket: Option<String>,
    /// Read the ticket from a file
    #[arg(long, value_name = "FILE", conflicts_with = "ticket")]
    pub(crate) ticket_file: Option<PathBuf>,
    /// Name that this device would like, when the invitation gives none
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// none, public, or URLs of your own relays, separated by commas
    #[arg(long, value_name = "RELAY")]
    pub(crate) relay: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DialArgs {
    /// NodeId or name of the agent; the only one when absent
    pub(crate) agent: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    /// One message; without it a conversation at the terminal, or all of stdin as the message
    pub(crate) text: Option<String>,
    /// Go on in this session instead of the one that was last used here
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// Begin a new session
    #[arg(long, conflicts_with = "session")]
    pub(crate) new: bool,
    /// Send a file with the first message; given once or more
    #[arg(long, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,
    /// NodeId or name of the agent; the only one when absent
    #[arg(long)]
    pub(crate) agent: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List them, the one that was used last at the end
    List,
    /// Print what was said in one
    Show {
        /// Id of the session
        id: String,
    },
    /// Forget the history of one
    Clear {
        /// Id of the session
        id: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// NodeId or name of an agent whose settings are meant, not those of this directory
    #[arg(long, global = true)]
    pub(crate) agent: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<ConfigCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print homing.toml
    Show,
    /// Print one value that holds
    Get {
        /// Such as policy.read_only
        key: String,
    },
    /// Change one value; what is beside it stays, comments included
    Set {
        /// Such as budgets.day
        key: String,
        /// As in homing.toml; `default` takes the key out
        value: String,
    },
    /// Say whether homing.toml is valid
    Check,
    /// Have the running process read homing.toml again
    Reload,
    /// Put the last homing.toml that worked in the place of the one that is there
    Restore,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Go on with the lines that come
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many lines
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    pub(crate) lines: usize,
    /// NodeId or name of the agent; the only one when absent
    #[arg(long)]
    pub(crate) agent: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    /// NodeId or name of the agent; the only one when absent
    #[arg(long)]
    pub(crate) agent: Option<String>,
    /// Port on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// none, public, or URLs of your own relays, separated by commas
    #[arg(long, value_name = "RELAY")]
    pub(crate) relay: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Name, or NodeId prefix of 8 or more
    pub(crate) device: String,
    /// Also revoke every device that it enrolled
    #[arg(long)]
    pub(crate) with_invited: bool,
    /// Deny it at this host's agent alone, at once and without the coordinator
    #[arg(long, conflicts_with = "with_invited")]
    pub(crate) local: bool,
}
