//! An OpenSSH client is asked the same questions with `ssh -G`, and our answers must be its answers.
//!
//! `ORACLE_SEEDS` sets how many random configurations are compared (6,000 by default), `ORACLE_FIRST` the
//! first of them, `ORACLE_SSH` the client (the installed one by default). Our resolver follows the newest
//! release; where an older one has another answer, the case says so and is not compared with it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is a failed test"
)]
#![expect(clippy::print_stdout, reason = "a skipped comparison must be seen")]

mod ask;
mod cases;
mod grammar;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use ask::{Asked, Verdict, release};
use grammar::{Rng, comparable};

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Configurations compared by default.
const SEEDS: u64 = 6_000;

/// Differences that are shown.
const SHOWN_MAX: usize = 3;

#[derive(Default)]
struct Count {
    same: u64,
    refused: u64,
    skipped: u64,
    failures: Vec<String>,
}

impl Count {
    fn add(&mut self, verdict: Result<Verdict, String>, about: impl FnOnce() -> String) {
        match verdict {
            Ok(Verdict::Same) => self.same += 1,
            Ok(Verdict::BothRefuse) => self.refused += 1,
            Err(difference) => self.failures.push(format!("{}{difference}\n", about())),
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (same, refused, skipped) = (self.same, self.refused, self.skipped);
        write!(
            f,
            "{same} answers are the same, {refused} refused by both, {skipped} skipped"
        )
    }
}

/// Most of the time goes to starting processes, which every core can do. `work` is given the number of
/// the worker and how many there are.
fn in_parallel(work: impl Fn(usize, usize) -> Count + Sync) -> Count {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let work = &work;
    let mut all = Count::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|it| scope.spawn(move || work(it, workers)))
            .collect();
        for worker in running {
            let count = worker.join().unwrap();
            all.same += count.same;
            all.refused += count.refused;
            all.skipped += count.skipped;
            all.failures.extend(count.failures);
        }
    });
    all
}

/// Asks one configuration of three files about one host.
fn compare(seed: u64, folder: &Path, release: (u32, u32), count: &mut Count) {
    let mut rng = Rng::new(seed, release);
    let root = folder.join(seed.to_string());
    let at = |name: &str| root.join(name).display().to_string();
    let files: Vec<(PathBuf, String)> = vec![
        (root.join("d/2.conf"), rng.config(&[])),
        (
            root.join("d/1.conf"),
            rng.config(&[at("d/2.conf"), at("missing")]),
        ),
        (
            root.join("config"),
            rng.config(&[at("d/1.conf"), at("d/*.conf"), at("d/[12].conf"), at("d/*")]),
        ),
    ];
    files.iter().for_each(|it| write(&it.0, &it.1));
    let whole: String = files
        .iter()
        .map(|it| format!("--- {}\n{}", it.0.display(), it.1))
        .collect();
    if comparable(&whole, release) {
        let (destination, given) = rng.destination();
        let asked = Asked {
            config: &root.join("config"),
            destination,
            user: given.then_some("u1"),
            port: given.then_some(2299),
        };
        count.add(asked.compare(), || {
            format!("seed {seed} host {destination}\n{whole}")
        });
    } else {
        count.skipped += 1;
    }
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn random_configurations_mean_what_they_mean_to_openssh() {
    let Some(release) = release() else { return };
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let first = number("ORACLE_FIRST").unwrap_or(1);
    let end = first + number("ORACLE_SEEDS").unwrap_or(SEEDS);
    let dir = tempfile::tempdir().unwrap();
    let all = in_parallel(|worker, workers| {
        let mut count = Count::default();
        let seeds = (first..end).skip(worker).step_by(workers);
        seeds.for_each(|seed| compare(seed, dir.path(), release, &mut count));
        count
    });
    println!("{all}");
    let shown: Vec<_> = all.failures.iter().take(SHOWN_MAX).cloned().collect();
    assert!(
        all.failures.is_empty(),
        "{} differences, the first:\n{}",
        all.failures.len(),
        shown.join("\n==========\n")
    );
    assert!(
        all.refused <= all.same,
        "too few of the configurations are accepted"
    );
}
