//! Settings → Connections.

use std::time::Instant;

use codex_hosts::{Failure, Forwarded, ForwardedState, Host, HostId, Origin, Status};
use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    sidebar::{status_look, status_text},
    write::{Pen, row_of, seconds},
};
use crate::{
    app::{App, install::megabytes, picker::Typing},
    keymap::{Command, Context, label},
    text::{
        sanitize::{sanitize, sanitize_line},
        wrap::{Wrap, text_width},
    },
};

/// Lines of a remote's stderr that are shown: its end says most.
const STDERR_LINES_MAX: usize = 12;

/// Rows that the list keeps: what is said of the host under the cursor gets the others where it needs them, since its
/// end is what helps.
const LIST_ROWS_MIN: u16 = 3;

pub(super) fn draw(app: &App, now: Instant, pen: &mut Pen<'_, '_>, area: Rect) {
    let theme = pen.theme;
    let title = pen.pair(
        "Settings → Connections",
        theme.heading,
        &counts(app),
        theme.dim,
        area.width,
    );
    pen.line(row_of(area, 0), &title);
    draw_input(app, pen, row_of(area, 1));
    let detail = detail(app, now, pen, area.width);
    let top = 2.min(area.height);
    let detail_height = u16::try_from(detail.len())
        .unwrap_or(u16::MAX)
        .min(area.height.saturating_sub(top + LIST_ROWS_MIN));
    let list = Rect {
        y: area.y + top,
        height: (area.height - top).saturating_sub(detail_height),
        ..area
    };
    draw_list(app, now, pen, list);
    let below = Rect {
        y: list.bottom(),
        height: detail_height,
        ..area
    };
    pen.lines(below, &detail);
}

fn counts(app: &App) -> String {
    let ready = app.hosts.values().filter(|it| it.is_ready()).count();
    let marked = app.picker.marked.len();
    let hosts = match app.picker.hosts.len() {
        1 => "1 host".to_owned(),
        n => format!("{n} hosts"),
    };
    match marked {
        0 => format!("{hosts}, {ready} ready"),
        n => format!("{hosts}, {ready} ready, {n} marked"),
    }
}

fn draw_input(app: &App, pen: &mut Pen<'_, '_>, area: Rect) {
    let theme = pen.theme;
    let picker = &app.picker;
    let (before, field) = match &picker.typing {
        Typing::Address(field) => ("add user@host:port: ", Some(field)),
        Typing::Filter => ("/", Some(&picker.filter)),
        Typing::Nothing if !picker.filter.is_empty() => ("/", Some(&picker.filter)),
        Typing::Nothing => ("", None),
    };
    if let Some(field) = field {
        let problem = picker
            .problem
            .as_ref()
            .map(|it| format!("   {it}"))
            .unwrap_or_default();
        let line = Line::from(vec![
            Span::styled(before, theme.accent),
            Span::raw(pen.fit(field.text(), area.width)),
            Span::styled(problem, theme.error),
        ]);
        pen.line(area, &line);
        if picker.typing != Typing::Nothing && app.open_ask().is_none() {
            let column = text_width(before) + text_width(&field.text()[..field.cursor()]);
            let column = u16::try_from(column)
                .unwrap_or(u16::MAX)
                .min(area.width.saturating_sub(1));
            pen.cursor(area.x + column, area.y);
        }
    } else if picker.hosts.iter().all(|it| it.origin == Origin::ThisMachine) {
        let key = label(Context::Connections, Command::AddHost);
        let text = format!("the SSH configuration names no host: `{key}` adds one");
        pen.text(area, &text, theme.dim);
    }
}

fn draw_list(app: &App, now: Instant, pen: &mut Pen<'_, '_>, area: Rect) {
    let hosts = app.picker.visible();
    if hosts.is_empty() && !app.picker.filter.is_empty() {
        let text = "no host has this in its name or address: Esc shows all of them";
        pen.text(row_of(area, 0), text, pen.theme.dim);
    }
    let selected = app.picker.selected.min(hosts.len().saturating_sub(1));
    let height = usize::from(area.height);
    let first = (selected + 1).saturating_sub(height);
    let name_width = hosts
        .iter()
        .map(|it| text_width(&sanitize_line(&it.id.0)))
        .max()
        .unwrap_or(0);
    let name_width = name_width.clamp(8, usize::from(area.width / 3).max(8));
    for (index, host) in hosts.iter().enumerate().skip(first).take(height) {
        let at = row_of(area, u16::try_from(index - first).unwrap_or(u16::MAX));
        let line = host_line(app, host, now, pen, name_width, area.width);
        pen.line(at, &line);
        if index == selected {
            pen.style(at, pen.theme.selection);
        }
    }
}

fn host_line(
    app: &App,
    host: &Host,
    now: Instant,
    pen: &Pen<'_, '_>,
    name_width: usize,
    width: u16,
) -> Line<'static> {
    let theme = pen.theme;
    let offline = Status::Offline;
    let status = app.hosts.get(&host.id).map_or(&offline, |it| &it.status);
    let (glyph, style) = status_look(status, theme);
    let mark = if app.picker.marked.contains(&host.id) {
        "[x]"
    } else {
        "[ ]"
    };
    let name = pen.fit(&host.id.0, u16::try_from(name_width).unwrap_or(width));
    let pad = " ".repeat(name_width.saturating_sub(text_width(&name)));
    let word = match status {
        Status::Ready { took, .. } => format!("ready in {:.1} s", took.as_secs_f64()),
        Status::Offline => String::new(),
        status => {
            let upload = app.hosts.get(&host.id).and_then(|it| it.upload.as_ref());
            upload.map_or_else(|| status_text(status, now), |it| it.text(now))
        }
    };
    let origin = match &host.origin {
        Origin::Config { file, line } => format!("{}:{line}", file.display()),
        Origin::Typed => "typed".to_owned(),
        Origin::ThisMachine => "in this program".to_owned(),
    };
    let address = sanitize_line(host.address.as_deref().unwrap_or_default()).into_owned();
    let short_origin = match &host.origin {
        Origin::Config { file, line } => {
            let name = file
                .file_name()
                .map(|it| it.to_string_lossy())
                .unwrap_or_default();
            format!("{name}:{line}")
        }
        Origin::Typed | Origin::ThisMachine => origin.clone(),
    };
    let left = format!("{mark} {glyph} {name}{pad}  ");
    let room = usize::from(width).saturating_sub(text_width(&left));
    let status_width = (room * 2 / 5).clamp(8, 36).min(room);
    let word = pen.fit(&word, u16::try_from(status_width).unwrap_or(width));
    let word_pad = " ".repeat(status_width.saturating_sub(text_width(&word)) + 1);
    let rest = u16::try_from(room.saturating_sub(status_width + 1)).unwrap_or(0);
    let mut spans = vec![Span::raw(left), Span::styled(word, style), Span::raw(word_pad)];
    let fits = text_width(&address) + 1 + text_width(&sanitize_line(&origin)) <= usize::from(rest);
    let origin = if fits { &origin } else { &short_origin };
    spans.extend(pen.pair(&address, Style::new(), origin, theme.dim, rest).spans);
    Line::from(spans)
}

/// What is known about the host under the cursor when it is not ready.
fn detail(app: &App, now: Instant, pen: &Pen<'_, '_>, width: u16) -> Vec<Line<'static>> {
    let Some(host) = app.picker.current().and_then(|it| app.hosts.get(&it.id)) else {
        return Vec::new();
    };
    let theme = pen.theme;
    let mut lines = vec![Line::from(Span::styled(
        theme.glyphs.rule.repeat(usize::from(width)),
        theme.dim,
    ))];
    let mut say = |text: &str, style| {
        for line in sanitize(text).lines() {
            Wrap::words(width).push(&[Span::styled(line.to_owned(), style)], &mut lines);
        }
    };
    offer(app, &host.id, &mut say, theme.needs_you);
    match &host.status {
        Status::Offline => return Vec::new(),
        Status::Ready { since, took } => {
            let up = seconds(now.saturating_duration_since(*since));
            let server = host
                .server
                .as_ref()
                .map(|it| it.user_agent.as_str())
                .unwrap_or_default();
            say(
                &format!("ready for {up}, took {:.1} s; {server}", took.as_secs_f64()),
                theme.dim,
            );
            for it in &host.forwards {
                let (text, style) = forward_text(it, pen);
                say(&text, style);
            }
        }
        Status::Working { .. } => say(&status_text(&host.status, now), theme.working),
        Status::Waiting { .. } | Status::Failed(_) => (),
    }
    if let Some(failure) = host.failure() {
        say(&failure_text(failure), theme.error);
        say(failure.advice(), Style::new());
        say_stderr(failure, app.picker.shows_detail, &mut say, theme.dim);
    }
    if let Some(notice) = host.notices.back() {
        say(notice, theme.dim);
    }
    lines
}

/// What can be done about a missing server, or the question whether it shall be.
fn offer(app: &App, id: &HostId, say: &mut impl FnMut(&str, Style), asking: Style) {
    let Some(offer) = app.offer_for(id) else { return };
    let size = megabytes(offer.bytes as f64);
    let key = label(Context::Connections, Command::Install);
    if app.picker.installs.as_ref() != Some(id) {
        return say(
            &format!("`{key}` installs our app-server there ({size} MB)"),
            asking,
        );
    }
    let directory = &offer.directory;
    say(
        &format!(
            "install on {id}: {size} MB into {directory}? `{key}` again does it, any other key does not"
        ),
        asking,
    );
    if let Some(warning) = &offer.warning {
        say(warning, Style::new());
    }
}

fn forward_text(it: &Forwarded, pen: &Pen<'_, '_>) -> (String, Style) {
    let path = it.path(pen.theme.glyphs.arrow);
    match &it.state {
        ForwardedState::Opening => (format!("opening {path}"), pen.theme.working),
        ForwardedState::Open => (format!("forwards {path}"), Style::new()),
        ForwardedState::Failed { why, hint } => {
            (format!("does not forward {path}: {why}; {hint}"), pen.theme.error)
        }
    }
}

fn failure_text(failure: &Failure) -> String {
    let code = failure.kind.code();
    match failure.phase {
        // Many say themselves what was being done.
        Some(phase) if failure.message.starts_with(phase.label()) => format!("{} [{code}]", failure.message),
        Some(phase) => format!("{}: {} [{code}]", phase.label(), failure.message),
        None => format!("connection lost: {} [{code}]", failure.message),
    }
}

fn say_stderr(failure: &Failure, shows: bool, say: &mut impl FnMut(&str, Style), style: Style) {
    let Some(stderr) = failure.stderr.as_deref().filter(|it| !it.trim().is_empty()) else {
        return;
    };
    if !shows {
        say("`e` shows what the remote wrote to stderr", style);
        return;
    }
    let lines: Vec<&str> = stderr.lines().collect();
    let end = &lines[lines.len().saturating_sub(STDERR_LINES_MAX)..];
    say(&end.join("\n"), style);
}
