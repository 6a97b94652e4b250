//! The command line of MCP servers.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct McpArgs {
    /// NodeId or name of the agent; the only one when absent
    #[arg(long, global = true)]
    pub(crate) agent: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<McpCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// List servers and what they are doing
    List,
    /// Add a server: a program of the agent's host after --, or an address
    Add(AddMcpArgs),
    /// Show a server with its tools
    Show {
        /// Its name
        name: String,
    },
    /// End a server and forget it
    Remove {
        /// Its name
        name: String,
    },
    /// Start a server, also one that stays down
    Enable {
        /// Its name
        name: String,
    },
    /// End a server and keep it
    Disable {
        /// Its name
        name: String,
    },
    /// Show what a server wrote and why it ended
    Logs {
        /// Its name
        name: String,
        /// At most this many lines
        #[arg(long, value_name = "N", default_value_t = 100)]
        lines: usize,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddMcpArgs {
    /// a-z, 0-9 and -, at most 32
    pub(crate) name: String,
    /// The address of a server that runs elsewhere
    #[arg(long, conflicts_with_all = ["command", "env_file", "cwd"], required_unless_present = "command")]
    pub(crate) url: Option<String>,
    /// Headers for the address, a line NAME=value each; - is stdin
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(crate) header_file: Option<PathBuf>,
    /// Variables for the program, a line NAME=value each; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// Folder in which the program starts [default: the agent's workspace]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// What holds for its tools: allow, ask or deny [default: ask]
    #[arg(long, value_parser = ["allow", "ask", "deny"])]
    pub(crate) policy: Option<String>,
    /// Longest time of one call, in seconds [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// The program and its arguments
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}
