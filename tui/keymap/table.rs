//! The table itself.

use crossterm::event::{KeyCode, KeyModifiers as M};

use super::{
    Binding, Chord, Command as C,
    Context::{
        self, Approval, Completion, Composer, Connections, Form, Global, HostKey, Input, Palette, Threads,
        Transcript,
    },
};

pub(super) const TABLES: [&[Binding]; 6] = [GLOBAL, LISTS, CONVERSATION, COMPLETION, INPUTS, DIALOGS];

const GLOBAL: &[Binding] = &[
    bind(Global, key(KeyCode::F(1)), C::Help, "keys of what is focused"),
    bind(Global, ctrl('p'), C::Palette, "all commands, by name"),
    hint(
        Global,
        key(KeyCode::Tab),
        C::NextAttention,
        "next",
        "go to the next thread that needs you or is done",
    ),
    hint(
        Global,
        ctrl('y'),
        C::LookAtRequest,
        "look",
        "open the question that waits longest",
    ),
    hint(
        Global,
        ctrl('o'),
        C::NextFocus,
        "focus",
        "focus the list, the transcript, the composer in turn",
    ),
    bind(
        Global,
        key(KeyCode::BackTab),
        C::NextFocus,
        "the same, where Ctrl+O is taken",
    ),
    hint(Global, ctrl('n'), C::NewThread, "new", "new thread on this host"),
    bind(
        Global,
        key(KeyCode::F(2)),
        C::Connections,
        "settings → connections",
    ),
    bind(
        Global,
        ctrl('c'),
        C::QuitOrInterrupt,
        "clear the draft, else interrupt; twice: quit",
    ),
    bind(Global, ctrl('z'), C::Suspend, "suspend; `fg` comes back"),
    bind(Global, ctrl('l'), C::Redraw, "draw everything again"),
    bind(Global, key(KeyCode::PageUp), C::PageUp, "scroll up"),
    bind(Global, key(KeyCode::PageDown), C::PageDown, "scroll down"),
    bind(
        Global,
        alt('1'),
        C::Slot(1),
        "thread 1 of the list; Alt+2 … Alt+9 likewise",
    ),
    bind(Global, alt('2'), C::Slot(2), ""),
    bind(Global, alt('3'), C::Slot(3), ""),
    bind(Global, alt('4'), C::Slot(4), ""),
    bind(Global, alt('5'), C::Slot(5), ""),
    bind(Global, alt('6'), C::Slot(6), ""),
    bind(Global, alt('7'), C::Slot(7), ""),
    bind(Global, alt('8'), C::Slot(8), ""),
    bind(Global, alt('9'), C::Slot(9), ""),
    bind(
        Global,
        with(M::CONTROL, KeyCode::End),
        C::Bottom,
        "follow the transcript's end",
    ),
];

const LISTS: &[Binding] = &[
    hint(
        Threads,
        key(KeyCode::Enter),
        C::Open,
        "open",
        "open the thread, or show a host's trouble",
    ),
    bind(Threads, key(KeyCode::Up), C::Up, "up"),
    bind(Threads, char('k'), C::Up, "up"),
    bind(Threads, ctrl('k'), C::Up, "up"),
    bind(Threads, key(KeyCode::Down), C::Down, "down"),
    bind(Threads, char('j'), C::Down, "down"),
    bind(Threads, ctrl('j'), C::Down, "down"),
    bind(Threads, key(KeyCode::PageUp), C::PageUp, "a page up"),
    bind(Threads, key(KeyCode::PageDown), C::PageDown, "a page down"),
    bind(Threads, char('g'), C::Top, "first"),
    bind(Threads, key(KeyCode::Home), C::Top, "first"),
    bind(Threads, char('G'), C::Bottom, "last"),
    bind(Threads, key(KeyCode::End), C::Bottom, "last"),
    hint(
        Threads,
        char('/'),
        C::Filter,
        "filter",
        "show only what contains some text",
    ),
    bind(Threads, char('n'), C::NewThread, "new thread on this host"),
    hint(
        Threads,
        char('c'),
        C::Connections,
        "connections",
        "settings → connections",
    ),
    bind(Threads, char('d'), C::Disconnect, "disconnect this host"),
    bind(Threads, char('r'), C::Reconnect, "connect this host again"),
    hint(Threads, char('?'), C::Help, "help", "keys of this list"),
    bind(Threads, key(KeyCode::Esc), C::Back, "back to the composer"),
    bind(Threads, char('1'), C::Slot(1), "thread 1; 2 … 9 likewise"),
    bind(Threads, char('2'), C::Slot(2), ""),
    bind(Threads, char('3'), C::Slot(3), ""),
    bind(Threads, char('4'), C::Slot(4), ""),
    bind(Threads, char('5'), C::Slot(5), ""),
    bind(Threads, char('6'), C::Slot(6), ""),
    bind(Threads, char('7'), C::Slot(7), ""),
    bind(Threads, char('8'), C::Slot(8), ""),
    bind(Threads, char('9'), C::Slot(9), ""),
    hint(
        Connections,
        key(KeyCode::Enter),
        C::Open,
        "connect",
        "connect the marked hosts, or this one",
    ),
    hint(Connections, char(' '), C::ToggleMark, "mark", "mark several"),
    hint(
        Connections,
        char('/'),
        C::Filter,
        "filter",
        "show only what contains some text",
    ),
    hint(Connections, char('a'), C::AddHost, "add", "add `user@host:port`"),
    hint(
        Connections,
        char('d'),
        C::Disconnect,
        "disconnect",
        "disconnect this host",
    ),
    bind(
        Connections,
        char('i'),
        C::Install,
        "put our server on this host, which has none",
    ),
    bind(
        Connections,
        char('e'),
        C::ToggleDetail,
        "show or hide what the remote wrote to stderr",
    ),
    bind(Connections, key(KeyCode::Up), C::Up, "up"),
    bind(Connections, char('k'), C::Up, "up"),
    bind(Connections, key(KeyCode::Down), C::Down, "down"),
    bind(Connections, char('j'), C::Down, "down"),
    bind(Connections, key(KeyCode::PageUp), C::PageUp, "a page up"),
    bind(Connections, key(KeyCode::PageDown), C::PageDown, "a page down"),
    bind(Connections, char('g'), C::Top, "first"),
    bind(Connections, key(KeyCode::Home), C::Top, "first"),
    bind(Connections, char('G'), C::Bottom, "last"),
    bind(Connections, key(KeyCode::End), C::Bottom, "last"),
    hint(Connections, char('?'), C::Help, "help", "keys of this list"),
    hint(
        Connections,
        key(KeyCode::Esc),
        C::Back,
        "back",
        "back to the threads",
    ),
];

const CONVERSATION: &[Binding] = &[
    hint(
        Composer,
        key(KeyCode::Enter),
        C::Send,
        "send",
        "send; while a turn works: steer it",
    ),
    bind(Composer, with(M::SHIFT, KeyCode::Enter), C::Newline, "new line"),
    bind(Composer, with(M::ALT, KeyCode::Enter), C::Newline, "new line"),
    hint(
        Composer,
        ctrl('j'),
        C::Newline,
        "new line",
        "new line, in every terminal",
    ),
    hint(
        Composer,
        key(KeyCode::Esc),
        C::Interrupt,
        "interrupt",
        "interrupt the turn",
    ),
    bind(
        Composer,
        char('?'),
        C::QuestionMark,
        "these keys, while the draft is empty",
    ),
    bind(Composer, ctrl('d'), C::EndOfFile, "quit, when the draft is empty"),
    bind(
        Composer,
        key(KeyCode::Up),
        C::Up,
        "up; in the first line: earlier prompts",
    ),
    bind(
        Composer,
        key(KeyCode::Down),
        C::Down,
        "down; in the last line: later prompts",
    ),
    bind(Composer, ctrl('g'), C::Editor, "edit in $VISUAL or $EDITOR"),
    bind(Composer, alt('e'), C::ExpandPaste, "show a collapsed paste"),
    bind(
        Composer,
        ctrl('r'),
        C::SendAgain,
        "send again what a lost connection may have swallowed",
    ),
    bind(Composer, ctrl('x'), C::TakeBack, "take it back into the composer"),
    bind(
        Composer,
        ctrl('t'),
        C::ToggleExpanded,
        "show output and reasoning in full, or folded",
    ),
    bind(Transcript, key(KeyCode::Up), C::Up, "a line up"),
    bind(Transcript, char('k'), C::Up, "a line up"),
    bind(Transcript, key(KeyCode::Down), C::Down, "a line down"),
    hint(Transcript, char('j'), C::Down, "down", "a line down"),
    bind(Transcript, char('b'), C::PageUp, "a page up"),
    bind(Transcript, char(' '), C::PageDown, "a page down"),
    bind(
        Transcript,
        char('g'),
        C::Top,
        "as far up as is loaded; again: further",
    ),
    bind(
        Transcript,
        key(KeyCode::Home),
        C::Top,
        "as far up as is loaded; again: further",
    ),
    hint(Transcript, char('G'), C::Bottom, "follow", "follow the end"),
    bind(Transcript, key(KeyCode::End), C::Bottom, "follow the end"),
    hint(
        Transcript,
        char('e'),
        C::ToggleExpanded,
        "unfold",
        "show output and reasoning in full, or folded",
    ),
    bind(
        Transcript,
        ctrl('t'),
        C::ToggleExpanded,
        "show output and reasoning in full, or folded",
    ),
    hint(
        Transcript,
        char('y'),
        C::CopyLastAnswer,
        "copy",
        "copy the last answer",
    ),
    hint(Transcript, char('?'), C::Help, "help", "keys of the transcript"),
    bind(Transcript, char('i'), C::Back, "back to the composer"),
    hint(
        Transcript,
        key(KeyCode::Esc),
        C::Back,
        "back",
        "back to the composer",
    ),
];

const COMPLETION: &[Binding] = &[
    hint(Completion, key(KeyCode::Enter), C::Open, "run", "run the command"),
    hint(
        Completion,
        key(KeyCode::Tab),
        C::Complete,
        "complete",
        "complete the name",
    ),
    bind(Completion, key(KeyCode::Up), C::Up, "up"),
    bind(Completion, key(KeyCode::Down), C::Down, "down"),
    hint(Completion, key(KeyCode::Esc), C::Back, "close", "close this list"),
];

const INPUTS: &[Binding] = &[
    hint(Input, key(KeyCode::Enter), C::Open, "done", "take this text"),
    hint(Input, key(KeyCode::Esc), C::Back, "cancel", "forget this text"),
    bind(Input, key(KeyCode::Up), C::Up, "up"),
    bind(Input, key(KeyCode::Down), C::Down, "down"),
    hint(Palette, key(KeyCode::Enter), C::Open, "run", "run the command"),
    hint(Palette, key(KeyCode::Esc), C::Back, "close", "close this list"),
    bind(Palette, key(KeyCode::Up), C::Up, "up"),
    bind(Palette, ctrl('p'), C::Up, "up"),
    bind(Palette, key(KeyCode::Down), C::Down, "down"),
    bind(Palette, ctrl('n'), C::Down, "down"),
    bind(Palette, key(KeyCode::PageUp), C::PageUp, "a page up"),
    bind(Palette, key(KeyCode::PageDown), C::PageDown, "a page down"),
    bind(Palette, key(KeyCode::Tab), C::Down, "down"),
];

const DIALOGS: &[Binding] = &[
    hint(Approval, char('y'), C::Accept, "yes, once", "yes, this once"),
    hint(
        Approval,
        char('a'),
        C::AcceptForSession,
        "for session",
        "yes, and do not ask about the same in this thread",
    ),
    bind(
        Approval,
        char('p'),
        C::AcceptRule,
        "yes, and write a rule for this prefix on the host",
    ),
    hint(
        Approval,
        char('n'),
        C::Decline,
        "no",
        "no: the model is told, the turn goes on",
    ),
    hint(
        Approval,
        char('c'),
        C::CancelTurn,
        "stop turn",
        "no, and interrupt the turn",
    ),
    hint(
        Approval,
        key(KeyCode::Esc),
        C::Later,
        "later",
        "close without an answer; it keeps waiting",
    ),
    bind(
        Approval,
        key(KeyCode::Enter),
        C::Choose,
        "do what is selected; no, at first",
    ),
    bind(
        Approval,
        key(KeyCode::Left),
        C::PreviousField,
        "select another answer",
    ),
    bind(
        Approval,
        key(KeyCode::Right),
        C::NextField,
        "select another answer",
    ),
    bind(Approval, key(KeyCode::Up), C::Up, "scroll up"),
    bind(Approval, char('k'), C::Up, "scroll up"),
    bind(Approval, key(KeyCode::Down), C::Down, "scroll down"),
    bind(Approval, char('j'), C::Down, "scroll down"),
    bind(Approval, key(KeyCode::Tab), C::NextField, "select another answer"),
    bind(Approval, char('?'), C::Help, "keys of this question"),
    hint(
        HostKey,
        key(KeyCode::Enter),
        C::Choose,
        "as selected",
        "do what is selected; no, at first",
    ),
    hint(
        HostKey,
        key(KeyCode::Right),
        C::NextField,
        "select",
        "select another answer",
    ),
    bind(
        HostKey,
        key(KeyCode::Left),
        C::PreviousField,
        "select another answer",
    ),
    bind(HostKey, key(KeyCode::Tab), C::NextField, "select another answer"),
    bind(HostKey, key(KeyCode::Up), C::Up, "scroll up"),
    bind(HostKey, key(KeyCode::Down), C::Down, "scroll down"),
    bind(HostKey, char('n'), C::Decline, "no, do not trust the key"),
    hint(
        HostKey,
        key(KeyCode::Esc),
        C::Decline,
        "no",
        "no, do not trust the key",
    ),
    bind(HostKey, char('?'), C::Help, "keys of this question"),
    hint(
        Form,
        key(KeyCode::Enter),
        C::Choose,
        "answer",
        "next field; in the last one: answer",
    ),
    hint(Form, key(KeyCode::Tab), C::NextField, "next field", "next field"),
    bind(Form, key(KeyCode::BackTab), C::PreviousField, "previous field"),
    bind(Form, key(KeyCode::Up), C::Up, "select an option"),
    bind(Form, key(KeyCode::Down), C::Down, "select an option"),
    hint(Form, ctrl('d'), C::Decline, "decline", "do not answer"),
    hint(
        Form,
        key(KeyCode::Esc),
        C::Later,
        "later",
        "close without an answer; a login is given up",
    ),
];

pub(super) const TEXT: &[(Chord, C)] = &[
    (key(KeyCode::Left), C::CursorLeft),
    (ctrl('b'), C::CursorLeft),
    (key(KeyCode::Right), C::CursorRight),
    (ctrl('f'), C::CursorRight),
    (with(M::CONTROL, KeyCode::Left), C::WordLeft),
    (with(M::ALT, KeyCode::Left), C::WordLeft),
    (alt('b'), C::WordLeft),
    (with(M::CONTROL, KeyCode::Right), C::WordRight),
    (with(M::ALT, KeyCode::Right), C::WordRight),
    (alt('f'), C::WordRight),
    (key(KeyCode::Home), C::LineStart),
    (ctrl('a'), C::LineStart),
    (key(KeyCode::End), C::LineEnd),
    (ctrl('e'), C::LineEnd),
    (key(KeyCode::Backspace), C::DeleteBack),
    (with(M::SHIFT, KeyCode::Backspace), C::DeleteBack),
    (ctrl('h'), C::DeleteBack),
    (key(KeyCode::Delete), C::DeleteForward),
    (ctrl('w'), C::DeleteWordBack),
    (with(M::ALT, KeyCode::Backspace), C::DeleteWordBack),
    (with(M::CONTROL, KeyCode::Backspace), C::DeleteWordBack),
    (alt('d'), C::DeleteWordForward),
    (with(M::CONTROL, KeyCode::Delete), C::DeleteWordForward),
    (ctrl('u'), C::DeleteToStart),
    (ctrl('k'), C::DeleteToEnd),
    (with(M::ALT, KeyCode::Delete), C::DeleteWordForward),
];

const fn bind(context: Context, chord: Chord, command: C, about: &'static str) -> Binding {
    Binding {
        context,
        chord,
        command,
        about,
        hint: None,
    }
}

const fn hint(
    context: Context,
    chord: Chord,
    command: C,
    word: &'static str,
    about: &'static str,
) -> Binding {
    Binding {
        context,
        chord,
        command,
        about,
        hint: Some(word),
    }
}

const fn key(code: KeyCode) -> Chord {
    Chord::new(code, M::NONE)
}
const fn char(it: char) -> Chord {
    Chord::new(KeyCode::Char(it), M::NONE)
}
const fn ctrl(it: char) -> Chord {
    Chord::new(KeyCode::Char(it), M::CONTROL)
}
const fn alt(it: char) -> Chord {
    Chord::new(KeyCode::Char(it), M::ALT)
}
const fn with(modifiers: M, code: KeyCode) -> Chord {
    Chord::new(code, modifiers)
}
