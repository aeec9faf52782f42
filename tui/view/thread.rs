//! One thread: header, transcript, what goes on, draft.

use std::time::Instant;

use codex_hosts::Status;
use codex_protocol::v2;
use ratatui::{
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    Cache,
    layout::PROMPT_WIDTH,
    sidebar::{status_look, status_text},
    window::window,
    write::{Pen, row_of, seconds},
};
use crate::{
    app::{
        App, Focus, Pane,
        host::HostEntry,
        pane::{Delivery, Interrupt, Link, Turn},
        slash,
        text_field::{place, rows},
    },
    cells,
    keymap::{Command, Context, label},
    text::{
        sanitize::sanitize_line,
        wrap::{Breaks, Wrap},
    },
};

/// Rows that a draft may take, at most: the transcript is worth more.
const DRAFT_ROWS_MAX: u16 = 10;
/// In a narrower pane the title needs the room.
const TOKENS_WIDTH_MIN: u16 = 50;
/// Notes may take one of this many parts of the rows before they are cut.
const NOTES_SHARE: u16 = 3;
/// Slash commands that are shown at once.
const COMPLETIONS_MAX: usize = 8;

pub(super) fn draw(app: &App, cache: &mut Cache, now: Instant, pen: &mut Pen<'_, '_>, area: Rect) {
    let Some(pane) = app.current_pane() else {
        let text = "no thread: F2 shows the connections";
        pen.text(area, text, pen.theme.dim);
        return;
    };
    let header_rows = if area.height < 12 { 1 } else { 2 };
    let draft_rows = rows(
        pane.composer.text(),
        area.width.saturating_sub(PROMPT_WIDTH).max(1),
    );
    let draft_max = DRAFT_ROWS_MAX.min(area.height / 3).max(1);
    let draft_height = u16::try_from(draft_rows.len()).unwrap_or(u16::MAX).min(draft_max);
    let notes = fit_notes(
        &notes(app, pane, now, pen),
        (area.width, area.height),
        draft_height,
        pen,
    );
    let notes_height = u16::try_from(notes.len()).unwrap_or(0);
    let below = (draft_height + 1 + notes_height).min(area.height.saturating_sub(1));
    let transcript_height = area.height.saturating_sub(header_rows + below);

    header(app, pane, pen, area, header_rows);
    let transcript = Rect {
        y: area.y + header_rows.min(area.height),
        height: transcript_height,
        ..area
    };
    draw_transcript(app, pane, cache, pen, transcript);
    let below = Rect {
        y: transcript.bottom(),
        height: area.bottom().saturating_sub(transcript.bottom()),
        ..area
    };
    pen.lines(below, &notes);
    let rule = row_of(below, notes_height);
    let line = pen.theme.glyphs.rule.repeat(usize::from(area.width));
    let rule_style = match app.focus {
        Focus::Composer => pen.theme.accent,
        Focus::Threads | Focus::Transcript => pen.theme.dim,
    };
    pen.line(rule, &Line::from(Span::styled(line, rule_style)));
    let draft = Rect {
        y: below.y + notes_height + 1,
        height: below.height.saturating_sub(notes_height + 1),
        ..below
    };
    draw_draft(app, pane, pen, draft);
    if app.shows_completion() && app.focus == Focus::Composer {
        draw_completion(app, pane, pen, transcript);
    }
}

fn header(app: &App, pane: &Pane, pen: &mut Pen<'_, '_>, area: Rect, header_rows: u16) {
    let theme = pen.theme;
    let mood = app.mood(pane.id);
    let style = super::sidebar::mood_style(mood, theme);
    let title = format!("{}: {}", pane.host, pane.title());
    let used = pane
        .usage
        .as_ref()
        .filter(|_| TOKENS_WIDTH_MIN <= area.width)
        .map(usage);
    let right = match used {
        Some(used) => format!("{used} {} {}", theme.glyphs.dot, mood.word()),
        None => mood.word().to_owned(),
    };
    let line = pen.pair(
        &title,
        theme.accent.add_modifier(Modifier::BOLD),
        &right,
        style,
        area.width,
    );
    pen.line(row_of(area, 0), &line);
    if header_rows < 2 {
        return;
    }
    let dot = format!(" {} ", theme.glyphs.dot);
    let facts: Vec<String> = [
        pane.cwd.clone(),
        pane.settings.as_ref().map(|it| it.model.clone()),
        pane.settings.as_ref().map(|it| format!("asks {}", it.approval)),
        pane.settings.as_ref().map(|it| it.sandbox.clone()),
    ]
    .into_iter()
    .flatten()
    .filter(|it| !it.is_empty())
    .collect();
    pen.text(row_of(area, 1), &facts.join(&dot), theme.dim);
}

/// Tokens, and how full the model's window is after the last answer.
fn usage(usage: &v2::ThreadTokenUsage) -> String {
    let total = match usage.total.total_tokens {
        n @ ..1_000 => format!("{n} tokens"),
        n @ 1_000..1_000_000 => format!("{:.1}k tokens", n as f64 / 1e3),
        n => format!("{:.1}M tokens", n as f64 / 1e6),
    };
    match usage.model_context_window {
        Some(window) if 0 < window => {
            let percent = usage.last.total_tokens.saturating_mul(100) / window;
            format!("{total}, {percent} % of window")
        }
        _ => total,
    }
}

fn draw_transcript(app: &App, pane: &Pane, cache: &mut Cache, pen: &mut Pen<'_, '_>, area: Rect) {
    let tail = tail(app, pane, pen, area.width);
    let shown = window(pane, &tail, (area.width, area.height), pen.theme, cache);
    pen.lines(area, &shown.lines);
    if !shown.seen.at_end && 0 < area.height {
        let text = match pane.unseen {
            0 => "↓ more below".to_owned(),
            n => format!("↓ {n} new"),
        };
        let text = match std::ptr::eq(pen.theme.glyphs, &raw const crate::theme::ASCII) {
            true => text.replace('↓', "v"),
            false => text,
        };
        let width = u16::try_from(crate::text::wrap::text_width(&text) + 2).unwrap_or(area.width);
        let corner = Rect {
            x: area.right().saturating_sub(width),
            y: area.bottom() - 1,
            width: width.min(area.width),
            height: 1,
        };
        pen.text(corner, &format!(" {text} "), pen.theme.selection);
    }
    cache.transcript = Some(shown.seen);
}

/// What stands below the transcript's entries: prompts on their way, and the state of an empty thread.
fn tail(app: &App, pane: &Pane, pen: &Pen<'_, '_>, width: u16) -> Vec<Line<'static>> {
    let theme = pen.theme;
    let ctx = cells::Context {
        width,
        theme,
        expanded: pane.is_expanded,
        live: false,
    };
    let mut lines = Vec::new();
    for outgoing in &pane.outgoing {
        let message = v2::UserMessage {
            id: codex_protocol::ItemId(outgoing.id.clone()),
            client_id: None,
            content: vec![v2::UserInput::text(outgoing.text.as_str())],
        };
        lines.extend(cells::render(&v2::ThreadItem::UserMessage(message), &ctx));
        let (text, style) = match outgoing.state {
            Delivery::Sending => ("  sending…", theme.dim),
            Delivery::Steering => ("  steering the turn…", theme.dim),
            Delivery::Accepted => ("  sent", theme.dim),
            Delivery::Unknown => ("  the connection was lost before an answer came", theme.warning),
            Delivery::NotSent => (
                "  not sent: the connection was lost. Ctrl+R sends it again, Ctrl+X takes it back",
                theme.warning,
            ),
        };
        lines.push(Line::from(Span::styled(pen.fit(text, width), style)));
        lines.push(Line::default());
    }
    if pane.link == Link::Resuming && !pane.transcript.has_items() {
        lines.push(Line::from(Span::styled("loading…", theme.dim)));
    }
    if pane.is_draft() && !pane.transcript.has_items() && pane.outgoing.is_empty() {
        lines.extend(welcome(app, pane, pen, width));
    }
    lines
}

fn welcome(app: &App, pane: &Pane, pen: &Pen<'_, '_>, width: u16) -> Vec<Line<'static>> {
    let place = match &pane.cwd {
        Some(cwd) => format!("A new thread on {} in {cwd}.", pane.host),
        None => format!(
            "A new thread on {}, in the directory where its server starts.",
            pane.host
        ),
    };
    let mut texts = vec![place];
    if app.hosts.get(&pane.host).is_some_and(|it| it.needs_login) {
        texts.push("Nobody is logged in at the model's provider: run `codex login` on the host.".to_owned());
    }
    texts.push(
        "`/new DIRECTORY` chooses another directory, `/resume` an earlier thread, `?` shows the keys."
            .to_owned(),
    );
    let mut lines = Vec::new();
    for text in texts {
        let text = sanitize_line(&text).into_owned();
        crate::text::wrap::Wrap::words(width).push(&[Span::styled(text, pen.theme.dim)], &mut lines);
    }
    lines
}

/// Something between transcript and draft.
struct Note {
    text: Span<'static>,
    /// It takes the rows it needs. What counts seconds must not: the transcript would jump.
    in_full: bool,
}

impl Note {
    fn line(text: &str, style: Style) -> Note {
        let text = Span::styled(sanitize_line(text).into_owned(), style);
        Note { text, in_full: false }
    }

    fn in_full(text: &str, style: Style) -> Note {
        Note {
            in_full: true,
            ..Note::line(text, style)
        }
    }
}

/// The lines between transcript and draft: what goes on, and what waits elsewhere.
fn notes(app: &App, pane: &Pane, now: Instant, pen: &Pen<'_, '_>) -> Vec<Note> {
    let theme = pen.theme;
    let mut notes = Vec::new();
    if let Some(host) = app.hosts.get(&pane.host)
        && !host.is_ready()
    {
        host_notes(app, host, now, pen, &mut notes);
    }
    if let Some(elapsed) = pane.working_for(now) {
        let text = match (&pane.interrupt, &pane.turn) {
            (Interrupt::Wanted | Interrupt::Sent, _) => "interrupting…".to_owned(),
            (Interrupt::No, Turn::Starting { .. }) => format!("starting {}", seconds(elapsed)),
            (Interrupt::No, _) => format!("working {}", seconds(elapsed)),
        };
        let what = pane
            .passing
            .as_ref()
            .map(|it| format!(" · {it}"))
            .unwrap_or_default();
        let keys = match pane.interrupt {
            Interrupt::No => " · Esc interrupts · Enter steers",
            Interrupt::Wanted | Interrupt::Sent => "",
        };
        notes.push(Note::line(
            &format!("{} {text}{what}{keys}", theme.glyphs.working),
            theme.working,
        ));
    }
    if app.dialog.is_none()
        && let Some(ask) = app.asks.first()
    {
        let more = match app.asks.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let text = format!(
            "{} {} needs you: Ctrl+Y to look{more}",
            theme.glyphs.warning, ask.host
        );
        notes.push(Note::line(&text, theme.needs_you));
    }
    if pane.composer.text().starts_with('!') {
        let text = format!(
            "{} runs on {} as you, outside the sandbox",
            theme.glyphs.warning, pane.host
        );
        notes.push(Note::line(&text, theme.warning));
    }
    notes
}

/// Where a host stands that is not ready, why, and what helps.
fn host_notes(app: &App, host: &HostEntry, now: Instant, pen: &Pen<'_, '_>, notes: &mut Vec<Note>) {
    let theme = pen.theme;
    let (glyph, style) = status_look(&host.status, theme);
    let mut text = format!("{glyph} {}: {}", host.id, status_text(&host.status, now));
    if let Status::Failed(failure) = &host.status {
        let key = label(Context::Global, Command::Connections);
        let does = match app.offer_for(&host.id) {
            Some(_) => "installs our server there",
            None => "connects again",
        };
        text += &format!(" [{}] {} {key} {does}", failure.kind.code(), theme.glyphs.dot);
    }
    notes.push(Note::line(&text, style));
    let Some(failure) = host.failure() else { return };
    notes.push(Note::in_full(&format!("  {}", failure.message), style));
    let mut said = failure.stderr.as_deref().unwrap_or_default().trim().lines();
    if let Some(last) = said.next_back() {
        let all = match said.next() {
            Some(_) => " (the last line)",
            None => "",
        };
        notes.push(Note::in_full(
            &format!("  it said{all}: {}", last.trim()),
            theme.dim,
        ));
    }
    notes.push(Note::in_full(&format!("  {}", failure.advice()), theme.dim));
}

/// The notes in full, or one line each where that would take too much of the transcript. The draft keeps
/// its rows in any case.
fn fit_notes(
    notes: &[Note],
    (width, height): (u16, u16),
    draft_height: u16,
    pen: &Pen<'_, '_>,
) -> Vec<Line<'static>> {
    let cut = |it: &Note| Line::from(Span::styled(pen.fit(&it.text.content, width), it.text.style));
    let rest = [Span::raw("  ")];
    let wrap = Wrap {
        width,
        breaks: Breaks::Words,
        first: &[],
        rest: &rest,
    };
    let mut lines = Vec::new();
    for note in notes {
        if note.in_full {
            wrap.push(std::slice::from_ref(&note.text), &mut lines);
        } else {
            lines.push(cut(note));
        }
    }
    if usize::from(height / NOTES_SHARE) < lines.len() {
        lines = notes.iter().map(cut).collect();
    }
    // The header's row and the rule's.
    lines.truncate(usize::from(height.saturating_sub(draft_height + 2)));
    lines
}

fn draw_draft(app: &App, pane: &Pane, pen: &mut Pen<'_, '_>, area: Rect) {
    let theme = pen.theme;
    let field = pane.composer.field();
    let width = area.width.saturating_sub(PROMPT_WIDTH).max(1);
    let rows = rows(field.text(), width);
    let (cursor_row, cursor_column) = place(field.text(), &rows, field.cursor());
    let height = usize::from(area.height);
    let first = (cursor_row + 1).saturating_sub(height);
    pen.text(row_of(area, 0), theme.glyphs.prompt, theme.user);
    let text_area = Rect {
        x: area.x + PROMPT_WIDTH.min(area.width),
        width: area.width.saturating_sub(PROMPT_WIDTH),
        ..area
    };
    for (row, range) in rows.iter().enumerate().skip(first).take(height) {
        let at = row_of(text_area, u16::try_from(row - first).unwrap_or(u16::MAX));
        // Like the rows' widths: one column for a tab, whose stops mean nothing here.
        let shown = field.text()[range.clone()].replace(char::is_control, " ");
        pen.text(at, &shown, ratatui::style::Style::new());
    }
    if field.is_empty() {
        let hint = match pane.turn {
            Turn::Idle => "type a prompt, `/` for commands, `!` for a shell command",
            Turn::Starting { .. } | Turn::Running { .. } => "type to steer the turn that is working",
        };
        pen.text(row_of(text_area, 0), hint, theme.dim);
    }
    if app.focus == Focus::Composer && app.open_ask().is_none() && app.palette.is_none() {
        let column = u16::try_from(cursor_column)
            .unwrap_or(u16::MAX)
            .min(text_area.width.saturating_sub(1));
        let row = u16::try_from(cursor_row - first.min(cursor_row)).unwrap_or(0);
        if row < area.height {
            pen.cursor(text_area.x + column, text_area.y + row);
        }
    }
}

fn draw_completion(app: &App, pane: &Pane, pen: &mut Pen<'_, '_>, above: Rect) {
    let found = slash::completions(pane.composer.text());
    let selected = app.completion.unwrap_or(0).min(found.len().saturating_sub(1));
    let first = (selected + 1).saturating_sub(COMPLETIONS_MAX);
    let shown: Vec<_> = found
        .iter()
        .enumerate()
        .skip(first)
        .take(COMPLETIONS_MAX)
        .collect();
    let height = u16::try_from(shown.len()).unwrap_or(0).min(above.height);
    let area = Rect {
        y: above.bottom() - height,
        height,
        ..above
    };
    for (row, (index, command)) in (0..height).zip(shown) {
        let argument = command.argument.map(|it| format!(" {it}")).unwrap_or_default();
        let name = format!("/{}{argument}", command.name);
        let text = format!("{name:<18} {}", command.about);
        let at = row_of(area, row);
        let padded = format!("{text:<width$}", width = usize::from(area.width));
        let style = match index == selected {
            true => pen.theme.selection,
            false => ratatui::style::Style::new(),
        };
        pen.text(at, &padded, style);
    }
}
