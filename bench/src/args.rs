//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::role::Role;
use crate::rows::Row;

/// Runs homing and its rivals interleaved, and says what each of them costs.
#[derive(Debug, Parser)]
#[command(name = "homing-bench", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Print one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Hold every row against its goal; exit code 1 when one is missed
    #[arg(long)]
    pub(crate) check: bool,
    /// How often everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Rows by number or name, separated by commas [default: all that are numbered]
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    pub(crate) only: Vec<Row>,
    /// Shorter loads: shows that everything works, says little about speed
    #[arg(long)]
    pub(crate) quick: bool,
    /// Seconds that a run may wait in all for other work on this machine to pause
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) patience: u64,
    /// The program to measure [default: homing beside this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) homing: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) hidden: Option<Hidden>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hidden {
    /// Be a part of a measured system
    #[command(hide = true)]
    Role {
        #[command(subcommand)]
        role: Role,
    },
}
