//! Rules about the repository as a whole: who may depend on whom, and what files look like.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Which of our crates each of our crates may depend on, beside the testkit for tests. An edge that is not
/// here is a decision: it is made here, in view of the whole.
const EDGES: &[(&str, &[&str])] = &[
    ("codex-protocol", &[]),
    ("codex-rpc", &["codex-protocol"]),
    ("codex-ssh", &[]),
    ("codex-hosts", &[]),
    ("codex-threads", &["codex-protocol"]),
    ("codex-exec", &["codex-protocol"]),
    ("codex-mcp", &[]),
    ("codex-agent", &["codex-protocol"]),
    (
        "codex-fleet",
        &["codex-protocol", "codex-rpc", "codex-ssh", "codex-hosts"],
    ),
    (
        "codex-server",
        &[
            "codex-protocol",
            "codex-rpc",
            "codex-agent",
            "codex-exec",
            "codex-mcp",
            "codex-threads",
            "codex-ssh",
        ],
    ),
    (
        "codex-demo",
        &["codex-protocol", "codex-agent", "codex-exec", "codex-server"],
    ),
    ("codex-tui", &["codex-protocol", "codex-hosts"]),
    ("codex-testkit", &[]),
];
/// The package that wires them all together.
const ROOT: &str = "codex";
/// For tests only.
const TESTKIT: &str = "codex-testkit";

/// Crates that decide and do nothing: time, randomness and tasks are their inputs.
const PURE: &[&str] = &["codex-protocol", "codex-hosts"];
const IMPURE_LIBRARIES: &[&str] = &[
    "tokio",
    "tokio-util",
    "futures",
    "futures-util",
    "async-std",
    "rand",
    "fastrand",
    "getrandom",
];

const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "fixtures",
    "src",
    "ssh",
    "tests",
    "tui",
];

/// A longer file has more than one reason to change.
const FILE_LINES_MAX: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that belong to the repository, relative to its root.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        listed.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let names = String::from_utf8(listed.stdout).unwrap();
    let files = names.split('\0').filter(|it| !it.is_empty()).map(PathBuf::from);
    // What was deleted and not yet committed is no file.
    files.filter(|it| root().join(it).exists()).collect()
}

/// A crate of this workspace, as its manifest says.
#[derive(Debug)]
struct Manifest {
    name: String,
    folder: PathBuf,
    dependencies: BTreeSet<String>,
    dev_dependencies: BTreeSet<String>,
}

impl Manifest {
    /// Reads the few things that matter here; the manifests are written by hand and in one style.
    fn read(file: &Path) -> Manifest {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let mut manifest = Manifest {
            name: String::new(),
            folder: file.parent().unwrap().to_owned(),
            dependencies: BTreeSet::new(),
            dev_dependencies: BTreeSet::new(),
        };
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(header) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                section = header.to_owned();
                // `[dependencies.name]`, or the same for one target.
                if let Some((kind, name)) = section.rsplit_once("dependencies.") {
                    manifest.set(kind).insert(name.to_owned());
                }
            } else if section == "package"
                && let Some(name) = line.strip_prefix("name = ")
            {
                manifest.name = name.trim_matches('"').to_owned();
            } else if section != "workspace.dependencies"
                && let Some(kind) = section.strip_suffix("dependencies")
                && let Some((name, _)) = line.split_once(['=', '.'])
                && !line.starts_with('#')
            {
                manifest
                    .set(kind)
                    .insert(name.trim().trim_matches('"').to_owned());
            }
        }
        assert!(!manifest.name.is_empty(), "{} names no package", file.display());
        manifest
    }

    fn set(&mut self, kind: &str) -> &mut BTreeSet<String> {
        if kind.ends_with("dev-") {
            &mut self.dev_dependencies
        } else {
            &mut self.dependencies
        }
    }
}

fn manifests() -> Vec<Manifest> {
    let files = files();
    let manifests = files.iter().filter(|it| it.ends_with("Cargo.toml"));
    manifests.map(|it| Manifest::read(it)).collect()
}

fn is_ours(name: &str) -> bool {
    name.starts_with("codex-")
}

#[test]
fn crates_depend_on_each_other_only_as_the_table_says() {
    let edges: BTreeMap<_, _> = EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for manifest in manifests().iter().filter(|it| it.name != ROOT) {
        let Some(allowed) = edges.get(manifest.name.as_str()) else {
            wrong.push(format!("{} is not in EDGES of tests/tidy.rs", manifest.name));
            continue;
        };
        for name in manifest.dependencies.iter().filter(|it| is_ours(it)) {
            if !allowed.contains(&name.as_str()) {
                wrong.push(format!("{} must not depend on {name}", manifest.name));
            }
        }
        for name in manifest.dev_dependencies.iter().filter(|it| is_ours(it)) {
            if name != TESTKIT && !allowed.contains(&name.as_str()) {
                wrong.push(format!(
                    "the tests of {} must not depend on {name}",
                    manifest.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let root = manifests().into_iter().find(|it| it.name == ROOT).unwrap();
    assert!(
        !root.dependencies.contains(TESTKIT),
        "the testkit is for tests only"
    );
    assert!(
        root.dependencies.contains("codex-fleet"),
        "manifests are not read as they are written: {root:?}"
    );
}

#[test]
fn pure_crates_have_no_time_no_tasks_and_no_chance() {
    for manifest in manifests().iter().filter(|it| PURE.contains(&it.name.as_str())) {
        for library in IMPURE_LIBRARIES {
            assert!(
                !manifest.dependencies.contains(*library),
                "{} is pure and must not depend on {library}",
                manifest.name
            );
        }
    }
}

/// What is left of a file without the inner attributes and empty lines at its beginning.
fn after_inner_attributes(text: &str) -> &str {
    let mut rest = text.trim_start();
    while rest.starts_with("#![") {
        let mut depth = 0_usize;
        let end = rest.char_indices().find_map(|(at, c)| {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => (),
            }
            (c == ']' && depth == 0).then_some(at + 1)
        });
        rest = rest[end.unwrap_or(rest.len())..].trim_start();
    }
    rest
}

#[test]
fn every_source_file_says_what_it_is_and_is_not_long() {
    let mut wrong = Vec::new();
    for file in files()
        .iter()
        .filter(|it| it.extension().is_some_and(|it| it == "rs"))
    {
        let text = fs::read_to_string(root().join(file)).unwrap();
        if !after_inner_attributes(&text).starts_with("//! ") {
            wrong.push(format!("{}: begin it with a `//!` line", file.display()));
        }
        let lines = text.lines().count();
        if FILE_LINES_MAX < lines {
            let text = format!("{}: {lines} lines, at most {FILE_LINES_MAX}", file.display());
            wrong.push(text);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_map_of_the_sources_names_every_crate_and_every_module() {
    let map = fs::read_to_string(root().join("src/README.md")).unwrap_or_default();
    // A name counts in code marks, alone or as a path: `cli`, `src/cli`, `cli/`, `codex-fleet`.
    let named: BTreeSet<&str> = map
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|it| it.trim_end_matches('/'))
        .map(|it| it.strip_prefix("src/").unwrap_or(it))
        .collect();
    let mut missing = Vec::new();
    for manifest in manifests() {
        let folder = manifest.folder.strip_prefix("src").unwrap_or(&manifest.folder);
        let folder = folder.to_str().unwrap();
        let is_named = named.contains(manifest.name.as_str()) || named.contains(folder);
        if manifest.name != ROOT && !is_named {
            missing.push(format!("`{folder}` (the crate {})", manifest.name));
        }
    }
    let crates: BTreeSet<PathBuf> = manifests().into_iter().map(|it| it.folder).collect();
    let modules: BTreeSet<PathBuf> = files()
        .iter()
        .filter(|it| it.starts_with("src") && it.extension().is_some_and(|it| it == "rs"))
        .map(|it| it.iter().take(2).collect::<PathBuf>())
        .filter(|it| !crates.contains(it))
        .collect();
    for module in modules {
        let name = module.file_name().unwrap().to_str().unwrap();
        if !named.contains(name) && !named.contains(name.trim_end_matches(".rs")) {
            missing.push(format!("`{name}` (a module of the root package)"));
        }
    }
    assert!(
        missing.is_empty(),
        "src/README.md has to name, in backticks, and describe in a line: {missing:#?}"
    );
}

#[test]
fn the_top_level_holds_what_belongs_there() {
    let top: BTreeSet<PathBuf> = files()
        .iter()
        .map(|it| it.iter().take(1).collect::<PathBuf>())
        .collect();
    for entry in top {
        let name = entry.to_str().unwrap();
        assert!(
            name.starts_with('.') || TOP_LEVEL.contains(&name),
            "{name} does not belong at the top of the repository: TOP_LEVEL of tests/tidy.rs says what does"
        );
    }
}

#[test]
fn the_readme_names_every_code_of_a_failure_with_what_it_means_and_what_to_do() {
    let source = fs::read_to_string(root().join("src/hosts/failure.rs")).unwrap();
    let (_, code) = source.split_once("pub fn code(self)").unwrap();
    let (code, _) = code.split_once("\n    }\n").unwrap();
    // The match is exhaustive, so that these are all of them.
    let known: BTreeSet<&str> = code
        .lines()
        .filter_map(|it| it.split_once("=> \"")?.1.split_once('"'))
        .map(|(code, _)| code)
        .collect();
    assert!(10 < known.len(), "{known:?}");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, table) = readme
        .split_once("| code | what it means | what to do |")
        .unwrap();
    let rows = table.lines().skip(2).take_while(|it| it.starts_with('|'));
    let mut told = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [code, meaning, remedy] = cells[..] else {
            panic!("a row of three cells is wanted: {row}");
        };
        assert!(!meaning.is_empty() && !remedy.is_empty(), "{row}");
        assert!(told.insert(code.trim_matches('`')), "twice: {row}");
    }
    assert_eq!(
        told, known,
        "the table of README.md and src/hosts/failure.rs do not agree"
    );
}
