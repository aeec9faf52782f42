//! Commands that are typed into the composer.

/// What a slash command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slash {
    New,
    Resume,
    Interrupt,
    Compact,
    Rename,
    Archive,
    Fork,
    Copy,
    Status,
    Connections,
    Help,
    Quit,
}

pub struct SlashCommand {
    pub slash: Slash,
    pub name: &'static str,
    /// What follows the name, for people.
    pub argument: Option<&'static str>,
    pub about: &'static str,
}

const fn command(
    slash: Slash,
    name: &'static str,
    argument: Option<&'static str>,
    about: &'static str,
) -> SlashCommand {
    SlashCommand {
        slash,
        name,
        argument,
        about,
    }
}

pub const COMMANDS: &[SlashCommand] = &[
    command(
        Slash::New,
        "new",
        Some("[DIRECTORY]"),
        "new thread on this host, in this directory of the host",
    ),
    command(
        Slash::Resume,
        "resume",
        Some("[WORDS]"),
        "find an earlier thread in the list",
    ),
    command(Slash::Interrupt, "interrupt", None, "interrupt the turn"),
    command(
        Slash::Compact,
        "compact",
        None,
        "let the model summarize the thread so far",
    ),
    command(Slash::Rename, "rename", Some("NAME"), "give the thread a name"),
    command(Slash::Archive, "archive", None, "take the thread out of the list"),
    command(Slash::Fork, "fork", None, "go on in a copy of the thread"),
    command(Slash::Copy, "copy", None, "copy the last answer"),
    command(
        Slash::Status,
        "status",
        None,
        "what is known about the host and the thread",
    ),
    command(Slash::Connections, "connections", None, "settings → connections"),
    command(Slash::Help, "help", None, "keys of what is focused"),
    command(Slash::Quit, "quit", None, "quit"),
];

/// Reads a draft as a slash command and its argument. `None` when the name is none: then it is a prompt, as
/// a path at its beginning should be.
pub fn parse(draft: &str) -> Option<(Slash, &str)> {
    let (name, argument) = split(draft)?;
    let command = COMMANDS.iter().find(|it| it.name == name)?;
    Some((command.slash, argument))
}

/// The commands whose name begins as the draft does; none when the draft is more than a name.
pub fn completions(draft: &str) -> Vec<&'static SlashCommand> {
    let Some(name) = draft.strip_prefix('/') else {
        return Vec::new();
    };
    COMMANDS.iter().filter(|it| it.name.starts_with(name)).collect()
}

fn split(draft: &str) -> Option<(&str, &str)> {
    let rest = draft.trim().strip_prefix('/')?;
    if rest.contains('\n') {
        return None;
    }
    let (name, argument) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((name, argument.trim()))
}
