//! One table says which key does what, where; help, hints and the palette are made from it.

mod table;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use table::{TABLES, TEXT};

/// What has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// Everywhere, unless the focused context uses the key itself.
    Global,
    Composer,
    /// The list of slash commands above the composer.
    Completion,
    Transcript,
    /// The list of hosts and threads.
    Threads,
    /// Settings → Connections.
    Connections,
    /// A line of text is typed: a filter, an address.
    Input,
    /// A command, a patch or more rights wait for a decision.
    Approval,
    /// A form: an answer to the model, to an MCP server or to a login.
    Form,
    /// A host key waits for a decision.
    HostKey,
    /// The list of keys and commands.
    Palette,
}

impl Context {
    pub fn label(self) -> &'static str {
        match self {
            Context::Global => "everywhere",
            Context::Composer => "composer",
            Context::Completion => "completion",
            Context::Transcript => "transcript",
            Context::Threads => "threads",
            Context::Connections => "connections",
            Context::Input => "input",
            Context::Approval => "approval",
            Context::Form => "question",
            Context::HostKey => "host key",
            Context::Palette => "help",
        }
    }

    /// Whether keys that are not in the table are text.
    pub fn takes_text(self) -> bool {
        matches!(
            self,
            Context::Composer | Context::Completion | Context::Input | Context::Form | Context::Palette
        )
    }
}

impl Context {
    /// Whether it covers everything else: then few keys reach beyond it.
    fn is_modal(self) -> bool {
        matches!(
            self,
            Context::Approval | Context::Form | Context::HostKey | Context::Palette | Context::Input
        )
    }

    fn has(self, command: Command) -> bool {
        let is_for_dialogs = matches!(
            command,
            Command::Help | Command::QuitOrInterrupt | Command::Suspend | Command::Redraw
        );
        let is_scrolling = matches!(command, Command::PageUp | Command::PageDown);
        !self.is_modal() || is_for_dialogs || (is_scrolling && self == Context::Approval)
    }
}

/// What a key can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    // Everywhere.
    Help,
    Palette,
    QuitOrInterrupt,
    Suspend,
    Redraw,
    NextFocus,
    NextAttention,
    LookAtRequest,
    NewThread,
    Connections,
    Slot(u8),
    // Lists, and the transcript.
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Filter,
    Back,
    Open,
    // Connections.
    ToggleMark,
    AddHost,
    Install,
    Disconnect,
    Reconnect,
    ToggleDetail,
    // Transcript.
    ToggleExpanded,
    CopyLastAnswer,
    // Composer and every other text.
    Send,
    Newline,
    Complete,
    CursorLeft,
    CursorRight,
    WordLeft,
    WordRight,
    LineStart,
    LineEnd,
    DeleteBack,
    DeleteForward,
    DeleteWordBack,
    DeleteWordForward,
    DeleteToStart,
    DeleteToEnd,
    ExpandPaste,
    Editor,
    Interrupt,
    EndOfFile,
    SendAgain,
    TakeBack,
    /// Help while nothing is typed, else a character.
    QuestionMark,
    // Dialogs.
    Accept,
    AcceptForSession,
    AcceptRule,
    Decline,
    CancelTurn,
    Later,
    Choose,
    NextField,
    PreviousField,
}

/// A key with its modifiers. Shift is part of the character for printable keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chord {
    pub code: KeyCode,
    pub modifiers: KeyModifiers,
}

impl Chord {
    const fn new(code: KeyCode, modifiers: KeyModifiers) -> Chord {
        Chord { code, modifiers }
    }

    fn matches(self, key: &KeyEvent) -> bool {
        let relevant = KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT;
        let modifiers = key.modifiers & relevant;
        match (self.code, key.code) {
            (KeyCode::Char(ours), KeyCode::Char(theirs)) => {
                ours == theirs && self.modifiers - KeyModifiers::SHIFT == modifiers - KeyModifiers::SHIFT
            }
            // Terminals report Shift+Tab as a key of its own, with or without the modifier.
            (KeyCode::BackTab, KeyCode::BackTab) => true,
            (ours, theirs) => ours == theirs && self.modifiers == modifiers,
        }
    }

    /// The key as people write it, e.g. `Ctrl+N`.
    pub fn label(self) -> String {
        let mut label = String::new();
        for (modifier, name) in [
            (KeyModifiers::CONTROL, "Ctrl+"),
            (KeyModifiers::ALT, "Alt+"),
            (KeyModifiers::SHIFT, "Shift+"),
        ] {
            if self.modifiers.contains(modifier) {
                label.push_str(name);
            }
        }
        let with_modifier = !self.modifiers.is_empty();
        match self.code {
            KeyCode::Char(' ') => label.push_str("Space"),
            KeyCode::Char(it) if with_modifier => label.extend(it.to_uppercase()),
            KeyCode::Char(it) => label.push(it),
            KeyCode::Enter => label.push_str("Enter"),
            KeyCode::Esc => label.push_str("Esc"),
            KeyCode::Tab => label.push_str("Tab"),
            KeyCode::BackTab => label.push_str("Shift+Tab"),
            KeyCode::Backspace => label.push_str("Backspace"),
            KeyCode::Delete => label.push_str("Delete"),
            KeyCode::Up => label.push('↑'),
            KeyCode::Down => label.push('↓'),
            KeyCode::Left => label.push('←'),
            KeyCode::Right => label.push('→'),
            KeyCode::Home => label.push_str("Home"),
            KeyCode::End => label.push_str("End"),
            KeyCode::PageUp => label.push_str("PgUp"),
            KeyCode::PageDown => label.push_str("PgDn"),
            KeyCode::F(it) => label.push_str(&format!("F{it}")),
            _ => label.push('?'),
        }
        label
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    pub context: Context,
    pub chord: Chord,
    pub command: Command,
    /// What it does, for the help.
    pub about: &'static str,
    /// One or two words for the bottom line, if it is worth a place there.
    pub hint: Option<&'static str>,
}

/// What this key does in this context; the global table stands behind each context.
pub fn lookup(context: Context, key: &KeyEvent) -> Option<Command> {
    bindings(context)
        .find(|it| it.chord.matches(key))
        .map(|it| it.command)
}

/// The lines of the help for a context: its own, then those that hold everywhere.
pub fn bindings(context: Context) -> impl Iterator<Item = &'static Binding> {
    let of = |wanted: Context| {
        TABLES
            .iter()
            .flat_map(|it| it.iter())
            .filter(move |it| it.context == wanted)
    };
    let global = (context != Context::Global).then(|| of(Context::Global));
    let global = global.into_iter().flatten();
    of(context).chain(global.filter(move |it| context.has(it.command)))
}

/// The first key of a command in a context, as people write it.
pub fn label(context: Context, command: Command) -> String {
    bindings(context)
        .find(|it| it.command == command)
        .map_or_else(String::new, |it| it.chord.label())
}

/// What a key does in any text. The same everywhere, so it is no part of a context.
pub fn text_command(key: &KeyEvent) -> Option<Command> {
    TEXT.iter()
        .find(|(chord, _)| chord.matches(key))
        .map(|(_, command)| *command)
}
