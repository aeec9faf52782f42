//! The command line of the benchmark.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Parser, builder::PossibleValuesParser};

/// What can be measured by itself.
const NAMES: [&str; 6] = ["start", "turns", "burst", "flood", "slow", "threads"];

/// Measures our app-server beside the official one.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench app_server --")]
pub(crate) struct Options {
    /// Measure this program instead of what `.ci/release` builds
    #[arg(long, value_name = "PATH", value_parser = |it: &str| std::path::absolute(it))]
    pub(crate) ours: Option<PathBuf>,
    /// How often each figure is taken
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) runs: NonZeroUsize,
    /// Measure ours alone: no ratios, and targets that need one are open
    #[arg(long)]
    pub(crate) without_official: bool,
    /// Write every single value
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Measure these alone
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = PossibleValuesParser::new(NAMES))]
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
