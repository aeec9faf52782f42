//! The command line of the benchmark.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Parser, builder::PossibleValuesParser};

use crate::MEASURES;

/// Measures the crate `codex-ssh` beside OpenSSH's client.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench ssh --")]
pub(crate) struct Options {
    /// Measure this build of `ssh/examples/bench_client.rs`
    #[arg(long, value_name = "PATH", value_parser = |it: &str| std::path::absolute(it))]
    pub(crate) client: Option<PathBuf>,
    /// Measure this program instead of what `.ci/release` builds, in `ready`
    #[arg(long, value_name = "PATH", value_parser = |it: &str| std::path::absolute(it))]
    pub(crate) codex: Option<PathBuf>,
    /// How often each figure is taken
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) runs: NonZeroUsize,
    /// Measure on loopback alone
    #[arg(long)]
    pub(crate) without_delay: bool,
    /// Measure over the slow link alone
    #[arg(long)]
    pub(crate) without_loopback: bool,
    /// Write every single value
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Measure these alone
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = PossibleValuesParser::new(MEASURES))]
    only: Vec<String>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Whether this is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|it| it == name)
    }
}
