//! `homing completions` and `homing man`.

use std::io::Write;

use anyhow::Context;
use clap::CommandFactory;

use crate::args::Args;

pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    clap_complete::generate(
        shell,
        &mut Args::command(),
        "homing",
        &mut std::io::stdout(),
    );
    Ok(())
}

pub(super) fn man() -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command())
        .render(&mut page)
        .context("the page could not be made")?;
    std::io::stdout()
        .write_all(&page)
        .context("the page could not be written")
}
