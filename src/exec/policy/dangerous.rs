//! Recognises commands that destroy or stop things, however they are wrapped.

use super::shell::{plain_commands, script};

/// Programs that run the rest of their arguments, after their own options.
const WRAPPERS: [&str; 9] = [
    "sudo", "doas", "env", "nice", "nohup", "time", "command", "exec", "xargs",
];
/// Whatever their arguments are.
const ALWAYS: [&str; 9] = [
    "shutdown", "reboot", "halt", "poweroff", "mkswap", "wipefs", "shred", "fdisk", "parted",
];

pub(super) fn is_dangerous(argv: &[String]) -> bool {
    let Some(script) = script(argv) else {
        return command_is_dangerous(argv);
    };
    match plain_commands(argv) {
        Some(commands) => commands.iter().any(|command| command_is_dangerous(command)),
        None => pieces(script).iter().any(|piece| command_is_dangerous(piece)),
    }
}

/// Cuts a script that is not understood at everything that could begin a command.
fn pieces(script: &str) -> Vec<Vec<String>> {
    let is_border = |character: char| ";&|()`{}\n".contains(character);
    let words = |piece: &str| {
        let is_gap = |character: char| character.is_whitespace() || "\"'$\\".contains(character);
        let words = piece.split(is_gap).filter(|word| !word.is_empty());
        // Keywords and assignments stand before a command as wrappers do.
        let is_prefix = |word: &&str| {
            matches!(*word, "then" | "do" | "else" | "if" | "while" | "!") || word.contains('=')
        };
        words.skip_while(is_prefix).map(str::to_owned).collect()
    };
    script.split(is_border).map(words).collect()
}

fn command_is_dangerous(argv: &[String]) -> bool {
    let Some((program, rest)) = argv.split_first() else {
        return false;
    };
    let name = program.rsplit('/').next().unwrap_or_default();
    if WRAPPERS.contains(&name) {
        // The wrapped command begins somewhere in the rest, after options and their values.
        return (0..rest.len()).any(|start| command_is_dangerous(&rest[start..]));
    }
    if script(argv).is_some() {
        return is_dangerous(argv);
    }
    let has = |wanted: &str| rest.iter().any(|argument| argument == wanted);
    match name {
        "rm" => rest
            .iter()
            .take_while(|argument| *argument != "--")
            .any(|argument| removes_without_asking(argument)),
        "dd" => rest.iter().any(|argument| argument.starts_with("of=")),
        "find" => has("-delete"),
        "git" => {
            let is_forced =
                |argument: &String| argument.starts_with("--force") || bundle_has(argument, &['f']);
            (has("reset") && has("--hard"))
                || (has("clean") && rest.iter().any(is_forced))
                || (has("push") && rest.iter().any(is_forced))
        }
        "chmod" | "chown" => has("/") && rest.iter().any(|argument| bundle_has(argument, &['R'])),
        _ => ALWAYS.contains(&name) || name.starts_with("mkfs"),
    }
}

fn removes_without_asking(argument: &str) -> bool {
    match argument.strip_prefix("--") {
        Some(long) => !long.is_empty() && ("force".starts_with(long) || "recursive".starts_with(long)),
        None => bundle_has(argument, &['f', 'r', 'R']),
    }
}

fn bundle_has(argument: &str, flags: &[char]) -> bool {
    argument
        .strip_prefix('-')
        .is_some_and(|bundle| !bundle.starts_with('-') && bundle.contains(flags))
}
