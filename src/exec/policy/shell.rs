//! Understands shell scripts of the plainest kind: words, quotes and the operators between commands.

/// Shells whose `-c` scripts are understood.
const SHELLS: [&str; 4] = ["bash", "sh", "zsh", "dash"];
/// Words that begin or continue a construct instead of naming a program.
const KEYWORDS: [&str; 17] = [
    "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "select",
    "function", "time", "coproc", "in",
];
/// Where system programs are. A program given by another path is not the one that a table knows.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/bin/", "/usr/bin/"];

/// Returns the commands of a shell call such as `bash -lc "a && b | c"` as lists of words. `None` unless every
/// character of the script is understood: substitutions, redirections, patterns, groups, assignments and
/// comments are not.
pub fn plain_commands(argv: &[String]) -> Option<Vec<Vec<String>>> {
    parse(script(argv)?)
}

/// Returns the script of a shell call.
pub(crate) fn script(argv: &[String]) -> Option<&str> {
    let [shell, flags, script] = argv else { return None };
    let is_shell = system_name(shell).is_some_and(|name| SHELLS.contains(&name));
    (is_shell && matches!(flags.as_str(), "-c" | "-lc")).then_some(script)
}

/// Returns a program's name if it is given as a bare name or in a system directory.
pub(crate) fn system_name(program: &str) -> Option<&str> {
    let bare = SYSTEM_DIRECTORIES
        .iter()
        .find_map(|directory| program.strip_prefix(directory))
        .unwrap_or(program);
    (!bare.is_empty() && !bare.contains('/')).then_some(bare)
}

fn parse(script: &str) -> Option<Vec<Vec<String>>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut characters = script.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' => end_word(&mut word, &mut commands),
            '&' | '|' | ';' => {
                end_word(&mut word, &mut commands);
                let is_doubled = characters.next_if_eq(&character).is_some();
                // A single `&` runs in the background; `;;` belongs to `case`; `|&` has a redirection in it.
                let is_known = match character {
                    '&' => is_doubled,
                    ';' => !is_doubled,
                    _ => characters.peek() != Some(&'&'),
                };
                if !is_known || commands.last().is_none_or(Vec::is_empty) {
                    return None;
                }
                commands.push(Vec::new());
            }
            '\'' => word
                .get_or_insert_default()
                .push_str(&quoted(&mut characters, '\'', |_| true)?),
            '"' => {
                word.get_or_insert_default()
                    .push_str(&quoted(&mut characters, '"', is_literal_in_quotes)?)
            }
            plain if is_literal(plain) => word.get_or_insert_default().push(plain),
            _ => return None,
        }
    }
    end_word(&mut word, &mut commands);
    // `a;` is a whole script; `a &&` is not.
    if commands.last().is_some_and(Vec::is_empty) && script.trim_end().ends_with(';') {
        commands.pop();
    }
    let is_name =
        |first: &String| !first.is_empty() && !first.contains('=') && !KEYWORDS.contains(&first.as_str());
    let is_plain = |command: &Vec<String>| command.first().is_some_and(is_name);
    (!commands.is_empty() && commands.iter().all(is_plain)).then_some(commands)
}

fn end_word(word: &mut Option<String>, commands: &mut [Vec<String>]) {
    if let (Some(word), Some(command)) = (word.take(), commands.last_mut()) {
        command.push(word);
    }
}

fn quoted(
    characters: &mut impl Iterator<Item = char>,
    end: char,
    is_allowed: impl Fn(char) -> bool,
) -> Option<String> {
    let mut text = String::new();
    for character in characters {
        if character == end {
            return Some(text);
        }
        if !is_allowed(character) || character == '\0' {
            return None;
        }
        text.push(character);
    }
    None
}

/// Stands for itself in every shell, wherever in a word it is. A pattern could match a file whose name is an
/// option, so its characters are missing here.
fn is_literal(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_./,:@%+=".contains(character)
}

fn is_literal_in_quotes(character: char) -> bool {
    !matches!(character, '$' | '`' | '\\' | '!')
}
