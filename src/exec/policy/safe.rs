//! The table of commands that only read and print.

use super::shell::system_name;

/// Which arguments leave a command safe.
enum Arguments {
    Any,
    /// Decided by the rest of the command.
    Checked(fn(&[&str]) -> bool),
}

use Arguments::{Any, Checked};

/// Without options that write, run programs or change settings, whatever their arguments are, unless checked.
const TABLE: [(&str, Arguments); 41] = [
    ("basename", Any),
    ("cat", Any),
    ("cd", Any),
    ("cmp", Any),
    ("comm", Any),
    ("cut", Any),
    ("df", Any),
    ("diff", Checked(has_no_pager)),
    ("dirname", Any),
    ("du", Any),
    ("echo", Any),
    ("egrep", Any),
    ("expr", Any),
    ("false", Any),
    ("fgrep", Any),
    ("find", Checked(find_only_looks)),
    ("git", Checked(git_only_reads)),
    ("grep", Any),
    ("head", Any),
    ("id", Any),
    ("ls", Any),
    ("md5sum", Any),
    ("nl", Any),
    ("od", Checked(has_no_options_of_other_systems)),
    ("paste", Any),
    ("pwd", Any),
    ("readlink", Any),
    ("realpath", Any),
    ("rev", Any),
    ("rg", Checked(rg_runs_nothing)),
    ("sed", Checked(sed_prints_lines)),
    ("seq", Any),
    ("sha256sum", Any),
    ("sort", Checked(sort_only_prints)),
    ("stat", Any),
    ("tail", Any),
    ("tr", Any),
    ("true", Any),
    ("uname", Any),
    ("uniq", Checked(has_one_operand)),
    ("wc", Any),
];

pub(super) fn is_safe(argv: &[String]) -> bool {
    let Some((program, rest)) = argv.split_first() else {
        return false;
    };
    let Some(name) = system_name(program) else {
        return false;
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    TABLE
        .iter()
        .find(|(known, _)| *known == name)
        .is_some_and(|(_, arguments)| match arguments {
            Any => true,
            Checked(check) => check(&rest),
        })
}

/// Tests that take an action on what they find, or write a file (find(1)).
fn find_only_looks(arguments: &[&str]) -> bool {
    const ACTIONS: [&str; 9] = [
        "-exec", "-execdir", "-ok", "-okdir", "-delete", "-fls", "-fprint", "-fprint0", "-fprintf",
    ];
    !arguments.iter().any(|argument| ACTIONS.contains(argument))
}

/// `sed -n 3,7p FILE`, exactly: other scripts write files and run programs (sed(1)).
fn sed_prints_lines(arguments: &[&str]) -> bool {
    let ["-n", script, files @ ..] = arguments else {
        return false;
    };
    let Some(lines) = script.strip_suffix('p') else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (first, last) = lines.split_once(',').unwrap_or((lines, lines));
    is_number(first) && (is_number(last) || last == "$") && !files.iter().any(|file| file.starts_with('-'))
}

/// Every option is listed, because `-o` writes, `-T` and `--compress-program` do more, and all may be shortened.
fn sort_only_prints(arguments: &[&str]) -> bool {
    const PLAIN: [&str; 9] = ["-n", "-r", "-u", "-h", "-V", "-f", "-nr", "-rn", "-hr"];
    arguments
        .iter()
        .all(|argument| !argument.starts_with('-') || PLAIN.contains(argument))
}

/// A second operand is the output file (uniq(1)).
fn has_one_operand(arguments: &[&str]) -> bool {
    const PLAIN: [&str; 5] = ["-c", "-d", "-u", "-i", "-D"];
    let (options, operands): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    operands.len() <= 1 && options.iter().all(|option| PLAIN.contains(option))
}

/// `-l` of BSD's diff runs `pr`.
fn has_no_pager(arguments: &[&str]) -> bool {
    const PLAIN: [&str; 8] = ["-u", "-r", "-ru", "-q", "-rq", "-w", "-b", "-N"];
    arguments
        .iter()
        .all(|argument| !argument.starts_with('-') || PLAIN.contains(argument))
}

fn has_no_options_of_other_systems(arguments: &[&str]) -> bool {
    !arguments.iter().any(|argument| argument.starts_with("--"))
}

/// ripgrep runs a preprocessor, a program for the host's name, and decompressors (`-z`, also in a bundle).
fn rg_runs_nothing(arguments: &[&str]) -> bool {
    const RUNNING: [&str; 3] = ["--pre", "--hostname-bin", "--search-zip"];
    !arguments
        .iter()
        .any(|argument| match argument.strip_prefix("--") {
            Some(_) => RUNNING.iter().any(|option| argument.starts_with(option)),
            None => argument.starts_with('-') && argument.contains('z'),
        })
}

/// Subcommands that read. Options before the subcommand could name another repository with settings of its own.
fn git_only_reads(arguments: &[&str]) -> bool {
    let Some((subcommand, rest)) = arguments.split_first() else {
        return false;
    };
    match *subcommand {
        "status" | "log" | "diff" | "show" | "rev-parse" | "ls-files" | "describe" => {
            !rest.iter().any(|o| writes_or_runs(o))
        }
        "branch" => rest.iter().all(|option| {
            matches!(
                *option,
                "-a" | "-r" | "-v" | "-vv" | "--list" | "--all" | "--remotes" | "--show-current"
            )
        }),
        "remote" => matches!(rest, [] | ["-v"]),
        _ => false,
    }
}

/// Git takes any unambiguous beginning of a long option.
fn writes_or_runs(argument: &str) -> bool {
    const OPTIONS: [&str; 6] = [
        "--show-signature",
        "--output",
        "--ext-diff",
        "--textconv",
        "--exec-path",
        "--open-files-in-pager",
    ];
    let name = argument.split('=').next().unwrap_or_default();
    let is_abbreviated = name.len() > 2 && OPTIONS.iter().any(|option| option.starts_with(name));
    is_abbreviated || name.starts_with("--output")
}
