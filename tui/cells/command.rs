//! Commands that ran on the host, and what they printed.

use codex_protocol::v2::CommandExecution;
use ratatui::text::{Line, Span};

use super::{
    Context,
    block::{self, State},
};
use crate::text::{
    fold::Fold,
    sanitize::{sanitize, sanitize_line},
};

/// What stays of a command's output. The end is where results and errors stand.
const OUTPUT_FOLD: Fold = Fold { head: 3, tail: 5 };

pub(super) fn command(item: &CommandExecution, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let theme = ctx.theme;
    let mut lines = Vec::new();
    let shown = readable_command(&item.command);
    let mark = if item.source.as_deref() == Some("userShell") {
        "!"
    } else {
        "$"
    };
    let mut mark = Span::styled(mark, theme.accent);
    for line in sanitize(shown.trim_end()).split('\n') {
        block::headline(mark, &[Span::styled(line, theme.command)], ctx, &mut lines);
        mark = Span::raw(" ");
    }
    let output = item.aggregated_output.as_deref().unwrap_or_default();
    block::output(output, OUTPUT_FOLD, ctx, &mut lines);
    facts(item, ctx, &mut lines);
    lines
}

/// State, exit status, time and place, e.g. `✗ failed · exit 2 · 1.2 s · in /srv/app`.
fn facts(item: &CommandExecution, ctx: &Context<'_>, lines: &mut Vec<Line<'static>>) {
    let theme = ctx.theme;
    let state = State::read(item.status.as_str(), ctx);
    let mut facts = Vec::new();
    if let Some(code) = item.exit_code.filter(|&code| code != 0 || state == State::Failed) {
        facts.push(format!("exit {code}"));
    }
    // The server says 0 for most short commands: that is no measurement.
    if let Some(ms) = item.duration_ms.filter(|&ms| ms > 0) {
        facts.push(block::duration(ms));
    }
    if !item.cwd.is_empty() {
        facts.push(format!("in {}", sanitize_line(&item.cwd)));
    }
    let dot = theme.glyphs.dot;
    let facts: String = facts.iter().map(|fact| format!(" {dot} {fact}")).collect();
    let spans = [
        Span::styled(state.word(), state.style(ctx)),
        Span::styled(facts, theme.dim),
    ];
    block::headline(state.glyph(ctx), &spans, ctx, lines);
}

/// The command without the shell that runs it: `/bin/bash -lc 'make test'` reads `make test`.
///
/// For reading only. Takes the wrapper away when the command is exactly a known shell, `-c` or `-lc`, and
/// one word; anything else is returned as it is.
pub fn readable_command(command: &str) -> String {
    peel(command).unwrap_or_else(|| command.to_owned())
}

/// The command as it will run, for approvals: nothing is taken away that a shell would see.
///
/// What must not reach a terminal shows as an escape such as `\u{1b}`: a hidden character in a command that
/// is to be approved must be seen. The result is what [`sanitize`] leaves as it is.
pub fn exact_command(command: &str) -> String {
    let mut exact = String::with_capacity(command.len());
    for c in command.chars() {
        let is_shown = sanitize(c.encode_utf8(&mut [0; 4])).starts_with(c);
        if is_shown {
            exact.push(c)
        } else {
            exact.extend(c.escape_unicode())
        }
    }
    // Characters that are harmless alone may not be together: a pile of marks.
    if sanitize(&exact) != exact {
        let escape = |c: char| {
            if c.is_ascii() {
                c.to_string()
            } else {
                c.escape_unicode().to_string()
            }
        };
        return exact.chars().map(escape).collect();
    }
    exact
}

fn peel(command: &str) -> Option<String> {
    let (shell, rest) = command.trim().split_once(' ')?;
    let name = shell.rsplit('/').next().unwrap_or(shell);
    if !matches!(name, "bash" | "sh" | "zsh" | "dash" | "ksh" | "fish") {
        return None;
    }
    let (flag, script) = rest.trim_start().split_once(' ')?;
    if !matches!(flag, "-c" | "-lc") {
        return None;
    }
    unquote(script.trim())
}

/// Reads one shell word (POSIX.1-2024, XCU 2.2). `None` when there is more than one, or an expansion that
/// would make the reading differ from what runs.
fn unquote(word: &str) -> Option<String> {
    let mut out = String::with_capacity(word.len());
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => loop {
                match chars.next()? {
                    '\'' => break,
                    c => out.push(c),
                }
            },
            '"' => loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => match chars.next()? {
                        c @ ('$' | '`' | '"' | '\\') => out.push(c),
                        '\n' => {}
                        c => out.extend(['\\', c]),
                    },
                    '$' | '`' => return None,
                    c => out.push(c),
                }
            },
            '\\' => out.push(chars.next()?),
            c if c.is_whitespace() || "|&;<>()$`*?[#~=%!{}".contains(c) => return None,
            c => out.push(c),
        }
    }
    (!out.trim().is_empty()).then_some(out)
}
