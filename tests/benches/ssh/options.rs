//! The command line of the benchmark.

use std::path::PathBuf;

use crate::{MEASURES, Outcome};

/// How often each figure is taken unless somebody says otherwise.
const RUNS: usize = 10;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    /// `bench_client` to measure, instead of building it.
    pub(crate) client: Option<PathBuf>,
    /// `codex` to measure, instead of what `.ci/release` builds.
    pub(crate) codex: Option<PathBuf>,
    /// How often each figure is taken.
    pub(crate) runs: usize,
    /// Whether the slow link is measured too.
    pub(crate) delayed: bool,
    /// Whether loopback is.
    pub(crate) loopback: bool,
    /// Where every single value is written.
    pub(crate) json: Option<PathBuf>,
    only: Option<Vec<String>>,
}

impl Options {
    /// Reads the arguments after the program's name; cargo adds `--bench`.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Options> {
        let mut options = Options {
            client: None,
            codex: None,
            runs: RUNS,
            delayed: true,
            loopback: true,
            json: None,
            only: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => (),
                "--without-delay" => options.delayed = false,
                "--without-loopback" => options.loopback = false,
                "--client" => options.client = Some(std::path::absolute(value()?)?),
                "--codex" => options.codex = Some(std::path::absolute(value()?)?),
                "--json" => options.json = Some(value()?.into()),
                "--runs" => options.runs = value()?.parse::<usize>()?.max(1),
                "--only" => options.only = Some(names(&value()?)?),
                _ => return Err(format!("`{argument}` is no option of this benchmark").into()),
            }
        }
        Ok(options)
    }

    /// Whether this is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.iter().any(|it| it == name))
    }
}

fn names(list: &str) -> Outcome<Vec<String>> {
    let names: Vec<_> = list.split(',').map(str::to_owned).collect();
    match names.iter().find(|it| !MEASURES.contains(&it.as_str())) {
        Some(unknown) => Err(format!("`{unknown}` is not one of {}", MEASURES.join(", ")).into()),
        None => Ok(names),
    }
}
