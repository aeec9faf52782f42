//! Cases written by hand, in `fixtures/ssh_config/*.cases`.
//!
//! A case begins with `=== what it is about` and goes on to the next one; its lines are the
//! configuration. Options follow the title behind ` | `, separated by `; `:
//!
//! * `host NAME`: the destination; `a` without it. `user NAME` and `port NUMBER`: `-l` and `-p`.
//! * `since MAJOR.MINOR REASON`, `before MAJOR.MINOR REASON`: the answer of other releases differs, and
//!   why. We follow the newest.
//!
//! `{CR}`, `{TAB}`, `{FF}`, `{VT}`, `{NUL}`, `{BOM}`, `{FFBYTE}`, `{NL}` and `{SP}` stand for characters
//! that an editor would not keep, `{LONG}` for 5,000 letters, `{INC}` for the folder of the files that
//! can be included.

use std::{fs, path::Path};

use crate::{
    Count,
    ask::{Asked, release},
    in_parallel, write,
};

struct Case<'a> {
    file: String,
    title: &'a str,
    destination: &'a str,
    user: Option<&'a str>,
    port: Option<u16>,
    /// Why the release that is asked has another answer.
    skipped: Option<&'a str>,
    config: String,
}

impl Case<'_> {
    fn compare(&self, config: &Path, folder: &Path, count: &mut Count) {
        if let Some(reason) = self.skipped {
            println!("SKIPPED: {}: {}: {reason}", self.file, self.title);
            count.skipped += 1;
            return;
        }
        write(config, bytes(&self.config, folder));
        let asked = Asked {
            config,
            destination: self.destination,
            user: self.user,
            port: self.port,
        };
        let title = || format!("{}: {}\n{}", self.file, self.title, self.config);
        count.add(asked.compare(), title);
    }
}

fn read<'a>(file: &str, text: &'a str, release: (u32, u32)) -> Vec<Case<'a>> {
    let blocks = text.split("=== ").skip(1);
    blocks
        .map(|block| {
            let (head, config) = block.split_once('\n').unwrap();
            let (title, options) = head.split_once(" | ").unwrap_or((head, ""));
            let mut case = Case {
                file: file.to_owned(),
                title,
                destination: "a",
                user: None,
                port: None,
                skipped: None,
                config: config.to_owned(),
            };
            for option in options.split("; ").filter(|it| !it.is_empty()) {
                let (name, value) = option.split_once(' ').unwrap();
                let other = |is_right: &dyn Fn((u32, u32)) -> bool| {
                    let (number, reason) = value.split_once(' ').unwrap();
                    let (major, minor) = number.split_once('.').unwrap();
                    let number = (major.parse().unwrap(), minor.parse().unwrap());
                    (!is_right(number)).then_some(reason)
                };
                match name {
                    "host" => case.destination = value,
                    "user" => case.user = Some(value),
                    "port" => case.port = Some(value.parse().unwrap()),
                    "since" => case.skipped = case.skipped.or(other(&|it| release >= it)),
                    "before" => case.skipped = case.skipped.or(other(&|it| release < it)),
                    _ => panic!("{file}: {title}: unknown option {name}"),
                }
            }
            case
        })
        .collect()
}

fn bytes(text: &str, included: &Path) -> Vec<u8> {
    let text = text
        .replace("{INC}", &included.display().to_string())
        .replace("{CR}", "\r")
        .replace("{TAB}", "\t")
        .replace("{FF}", "\x0c")
        .replace("{VT}", "\x0b")
        .replace("{NUL}", "\0")
        .replace("{BOM}", "\u{feff}")
        .replace("{SP}", " ")
        .replace("{NL}\n", "")
        .replace("{LONG}", &"x".repeat(5_000));
    let mut bytes = Vec::new();
    for (index, part) in text.split("{FFBYTE}").enumerate() {
        if index > 0 {
            bytes.push(0xff);
        }
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// The files that cases include.
fn included(folder: &Path) {
    let own = |name: &str| format!("{}/{name}", folder.display());
    let files = [
        ("user", "User included\n".to_owned()),
        ("port", "Port 2201\n".to_owned()),
        ("host_b", "Host b\n User forb\n".to_owned()),
        ("host_a", "Host a\n User fora\n Port 2202\n".to_owned()),
        ("final", "Match final\n User never\n".to_owned()),
        ("bad", "Compression maybe\n".to_owned()),
        ("bad_host", "Host b\n Compression maybe\n".to_owned()),
        ("self", format!("User u\nInclude {}\n", own("self"))),
        ("tag", "Tag fromfile\n".to_owned()),
        ("with space", "User spaced\n".to_owned()),
        ("glob/20", "User twenty\nPort 20\n".to_owned()),
        ("glob/10", "User ten\n".to_owned()),
        ("glob/.hidden", "User hidden\nPort 11\n".to_owned()),
        ("glob/B", "ConnectTimeout 7\n".to_owned()),
        ("glob/a", "ConnectTimeout 8\n".to_owned()),
        ("value/a", "User fromvalue\n".to_owned()),
    ];
    for (name, text) in files {
        write(&folder.join(name), text);
    }
    // Sixteen levels are read, a seventeenth is one too many.
    for level in 1..=17_u32 {
        let next = level + 1;
        let text = match level {
            17 => "User deepest\n".to_owned(),
            _ => format!("Include {}\n", own(&format!("level{next}"))),
        };
        write(&folder.join(format!("level{level}")), text);
    }
    write(&folder.join("writable"), "User x\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o602);
    fs::set_permissions(folder.join("writable"), mode).unwrap();
    std::os::unix::fs::symlink(folder.join("nowhere"), folder.join("dangling")).unwrap();
}

#[test]
fn cases_of_their_own_mean_what_they_mean_to_openssh() {
    let Some(release) = release() else { return };
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("inc");
    included(&folder);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/ssh_config");
    let mut files: Vec<_> = fs::read_dir(fixtures)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "cases"));
    files.sort();
    let cases: Vec<(String, String)> = files
        .iter()
        .map(|it| {
            let name = it.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(it).unwrap())
        })
        .collect();
    let cases: Vec<Case> = cases.iter().flat_map(|it| read(&it.0, &it.1, release)).collect();
    let all = in_parallel(|worker, workers| {
        let config = &dir.path().join(format!("config{worker}"));
        let mut count = Count::default();
        for case in cases.iter().skip(worker).step_by(workers) {
            case.compare(config, &folder, &mut count);
        }
        count
    });
    println!("{all} of {}", cases.len());
    assert!(
        all.failures.is_empty(),
        "{} of the cases differ:\n{}",
        all.failures.len(),
        all.failures.join("\n")
    );
    assert!(all.same > 1_000, "the cases were not found: {files:?}");
}
