//! `homing`: your own AI agent on your own machine, dialed by key from anywhere.
//!
//! Arguments, logging, runtime, exit code. What a command does is in [`commands`].

mod agent_api;
mod answers;
mod archive;
mod args;
mod commands;
mod config;
mod control_socket;
mod data_dir;
mod device;
mod device_side;
mod failure;
mod files;
mod host;
mod output;
mod passphrase;
mod runtime;
mod terminal_text;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::output::Output;

fn main() -> ExitCode {
    let args = Args::parse();
    let output = Output::new(args.json);
    runtime::start_logging(args.verbose);
    // Libraries install none. Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // New files and sockets are for this user alone, whatever the shell's mask is.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match runtime::block_on(commands::run(args, output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.fail(&error),
    }
}
