//! Questions to the user: who asks, on which host, for what exactly, and what each answer covers.

use codex_hosts::{Hop, Question};
use codex_protocol::{ServerRequest, v2};
use ratatui::{
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use serde_json::Value;

use super::{
    layout::centered,
    write::{Pen, row_of},
};
use crate::{
    app::{
        App,
        ask::{Ask, AskKind, Choice},
        form::{Field, Form, Input},
    },
    cells, keymap,
    text::{
        sanitize::{sanitize, sanitize_line},
        wrap::{Wrap, spans_width, text_width},
    },
    theme::Theme,
};

const WIDTH_MAX: u16 = 100;

pub(super) fn draw(app: &App, pen: &mut Pen<'_, '_>, area: Rect) {
    let (Some(ask), Some(dialog)) = (app.open_ask(), app.dialog) else {
        return;
    };
    let width = area
        .width
        .saturating_sub(4)
        .clamp(1, WIDTH_MAX)
        .max(area.width.min(24));
    let inner_width = width.saturating_sub(2).max(1);
    let mut body = Body::new(inner_width, pen.theme);
    let title = fill(app, ask, &mut body);
    let mut answers = answers(ask, inner_width, pen.theme);
    let is_tight = usize::from(area.height) < body.lines.len() + answers.lines.len() + 3;
    if is_tight && !ask.choices.is_empty() {
        answers = compact_answers(ask, inner_width, pen.theme);
    }
    let wanted = body.lines.len() + answers.lines.len() + 3;
    let outer = centered(area, width, u16::try_from(wanted).unwrap_or(u16::MAX));
    let waiting = app.asks.len();
    let title = match waiting {
        1 => title,
        n => format!("{title} (1 of {n})"),
    };
    let inner = pen.boxed(outer, &title, pen.theme.needs_you);
    let answers_height = u16::try_from(answers.lines.len())
        .unwrap_or(u16::MAX)
        .min(inner.height);
    let text = Rect {
        height: (inner.height - answers_height).saturating_sub(1),
        ..inner
    };
    let hidden = body.lines.len().saturating_sub(usize::from(text.height));
    let scroll = usize::from(dialog.scroll).min(hidden);
    pen.lines(text, body.lines.iter().skip(scroll));
    if scroll < hidden {
        let rest = format!("{} more lines: ↓", hidden - scroll);
        pen.text(row_of(inner, text.height), &rest, pen.theme.dim);
    }
    let bottom = Rect {
        y: inner.bottom() - answers_height,
        height: answers_height,
        ..inner
    };
    // With a form that is higher than the box, the field that is typed into stays in sight.
    let skip = answers.cursor.map_or(0, |(_, row)| {
        (row + 1).saturating_sub(usize::from(answers_height))
    });
    pen.lines(bottom, answers.lines.iter().skip(skip));
    if let Some((column, row)) = answers.cursor.filter(|_| app.palette.is_none()) {
        let x = bottom.x
            + u16::try_from(column)
                .unwrap_or(u16::MAX)
                .min(bottom.width.saturating_sub(1));
        pen.cursor(x, bottom.y + u16::try_from(row - skip).unwrap_or(0));
    }
}

/// Lines that are being put together.
struct Body<'a> {
    width: u16,
    theme: &'a Theme,
    lines: Vec<Line<'static>>,
}

impl<'a> Body<'a> {
    fn new(width: u16, theme: &'a Theme) -> Body<'a> {
        Body {
            width,
            theme,
            lines: Vec::new(),
        }
    }

    /// Text of a remote, with its line breaks.
    fn say(&mut self, text: &str, style: Style) {
        for line in sanitize(text).lines() {
            Wrap::words(self.width).push(&[Span::styled(line.to_owned(), style)], &mut self.lines);
        }
    }

    /// `label  value`, where there is a value.
    fn fact(&mut self, label: &str, value: &str) {
        self.styled_fact(label, value, Style::new());
    }

    fn styled_fact(&mut self, label: &str, value: &str, style: Style) {
        if value.trim().is_empty() {
            return;
        }
        let first = [Span::styled(format!("{label:<10}"), self.theme.dim)];
        let rest = [Span::raw(" ".repeat(10))];
        let value = sanitize(value);
        for (index, line) in value.lines().enumerate() {
            let wrap = Wrap {
                width: self.width,
                breaks: crate::text::wrap::Breaks::Anywhere,
                first: if index == 0 { &first } else { &rest },
                rest: &rest,
            };
            wrap.push(&[Span::styled(line.to_owned(), style)], &mut self.lines);
        }
    }

    fn json(&mut self, label: &str, value: &Value) {
        if !value.is_null() {
            self.fact(label, &serde_json::to_string_pretty(value).unwrap_or_default());
        }
    }

    fn gap(&mut self) {
        self.lines.push(Line::default());
    }
}

/// Fills in what is asked and returns the title.
fn fill(app: &App, ask: &Ask, body: &mut Body<'_>) -> String {
    match &ask.kind {
        AskKind::Login(_, question) => fill_login(ask, question, body),
        AskKind::Server(_, request) => {
            let host = app.hosts.get(&ask.host);
            let address = host.and_then(|it| it.address.clone()).unwrap_or_default();
            let host_text = match address.is_empty() || address == ask.host.0 {
                true => ask.host.0.clone(),
                false => format!("{} ({address})", ask.host),
            };
            let thread = ask.pane.and_then(|it| app.panes.get(&it)).map(|it| it.title());
            // What is decided on comes first: on a small screen the rest has to be scrolled to.
            if let ServerRequest::CommandApproval(params) = request {
                say_command(params, body);
            }
            body.fact("host", &host_text);
            body.fact("thread", &thread.unwrap_or_default());
            fill_request(app, ask, request, body)
        }
    }
}

fn fill_request(app: &App, ask: &Ask, request: &ServerRequest, body: &mut Body<'_>) -> String {
    let host = &ask.host;
    match request {
        ServerRequest::CommandApproval(params) => {
            fill_command(params, body);
            format!("{host} wants to run a command")
        }
        ServerRequest::FileChangeApproval(params) => {
            fill_patch(app, ask, params, body);
            format!("{host} wants to change files")
        }
        ServerRequest::PermissionsApproval(params) => {
            body.fact("directory", &params.cwd);
            body.fact("why", params.reason.as_deref().unwrap_or_default());
            body.json("rights", &params.permissions);
            body.gap();
            body.say(
                "`a` grants them until the thread is closed, `y` for this turn.",
                body.theme.dim,
            );
            format!("{host} wants more rights")
        }
        ServerRequest::Elicitation(params) => {
            body.fact("server", &params.server_name);
            body.fact("address", params.url.as_deref().unwrap_or_default());
            body.gap();
            body.say(&params.message, Style::new());
            format!("{host}: an MCP server asks")
        }
        ServerRequest::UserInput(_) => format!("{host}: the model asks"),
        ServerRequest::Unknown { method } => method.clone(),
    }
}

fn fill_command(params: &v2::CommandApprovalParams, body: &mut Body<'_>) {
    body.fact("directory", params.cwd.as_deref().unwrap_or_default());
    body.fact("why", params.reason.as_deref().unwrap_or_default());
    if let Some(network) = &params.network_approval_context {
        body.json("network", network);
    }
    if let Some(permissions) = &params.additional_permissions {
        body.json("rights", permissions);
    }
    body.gap();
    body.say(
        "`a` covers exactly this command, in this thread, until its server ends.",
        body.theme.dim,
    );
    if let Some(prefix) = params
        .proposed_execpolicy_amendment
        .as_ref()
        .filter(|it| !it.is_empty())
    {
        let text = format!(
            "`p` writes a rule on the host, for good: every command that begins with `{}`.",
            prefix.join(" ")
        );
        body.say(&text, body.theme.dim);
    }
}

fn say_command(params: &v2::CommandApprovalParams, body: &mut Body<'_>) {
    match params.command.as_deref().filter(|it| !it.is_empty()) {
        Some(command) => body.styled_fact("command", &cells::exact_command(command), body.theme.command),
        None => body.say("the host did not say which command", body.theme.warning),
    }
}

fn fill_patch(app: &App, ask: &Ask, params: &v2::FileChangeApprovalParams, body: &mut Body<'_>) {
    let pane = ask.pane.and_then(|it| app.panes.get(&it));
    body.fact(
        "directory",
        pane.and_then(|it| it.cwd.as_deref()).unwrap_or_default(),
    );
    body.fact("why", params.reason.as_deref().unwrap_or_default());
    body.fact("root", params.grant_root.as_deref().unwrap_or_default());
    body.gap();
    let item = pane.and_then(|it| {
        let by_turn = it.transcript.item(&params.turn_id, &params.item_id);
        by_turn.or_else(|| it.transcript.find_item(&params.item_id))
    });
    match item {
        Some(item) => {
            let ctx = cells::Context {
                width: body.width,
                theme: body.theme,
                expanded: true,
                live: true,
            };
            body.lines.extend(cells::render(item, &ctx));
        }
        None => body.say("the host did not say which changes", body.theme.warning),
    }
    body.gap();
    let covers = match params.grant_root {
        Some(_) => "`a` covers every change below this root, in this thread, until its server ends.",
        None => "`a` covers changes of exactly these files, in this thread, until its server ends.",
    };
    body.say(covers, body.theme.dim);
}

fn fill_login(ask: &Ask, question: &Question, body: &mut Body<'_>) -> String {
    let hop = question.hop();
    body.fact("host", &ask.host.0);
    body.fact("asked by", &hop_text(hop));
    match question {
        Question::HostKey { key, .. } => {
            body.fact("key", &key.key_type);
            body.styled_fact("print", &key.fingerprint, body.theme.command);
            for line in &key.randomart {
                let line = sanitize_line(line).into_owned();
                body.lines.push(Line::from(Span::raw(format!("{:10}{line}", ""))));
            }
            body.gap();
            let effect = match &key.known_hosts_file {
                Some(file) => format!("`yes` writes it to {} and connects.", file.display()),
                None => "`yes` connects; the key is written nowhere.".to_owned(),
            };
            let advice = "This key is not known. Compare the fingerprint with one that you got another way.";
            body.say(&format!("{advice} {effect}"), Style::new());
            format!("{}: is this the right host?", ask.host)
        }
        Question::UpdateHostKeys {
            added,
            removed,
            known_hosts_file,
            ..
        } => {
            for (name, keys) in [("new", added), ("old", removed)] {
                for key in keys {
                    body.fact(name, &format!("{} {}", key.key_type, key.fingerprint));
                }
            }
            body.gap();
            let text = format!(
                "The host, which is known, proves that it has the new keys, and names the old ones no more. `yes` \
                 changes {}. Either answer leaves the connection as it is.",
                known_hosts_file.display()
            );
            body.say(&text, Style::new());
            format!("{}: record its changed keys?", ask.host)
        }
        Question::Confirm { text, .. } => {
            body.gap();
            body.say(text, Style::new());
            format!("{}: yes or no?", ask.host)
        }
        Question::Passphrase { key, attempt, .. } => {
            body.fact("key file", &key.display().to_string());
            say_attempt(*attempt, body);
            format!("{}: passphrase", ask.host)
        }
        Question::Password { attempt, .. } => {
            say_attempt(*attempt, body);
            format!("{}: password", ask.host)
        }
        Question::KeyboardInteractive {
            name, instructions, ..
        } => {
            body.fact("name", name);
            body.say(instructions, Style::new());
            format!("{}: login", ask.host)
        }
    }
}

fn say_attempt(attempt: u32, body: &mut Body<'_>) {
    if 1 < attempt {
        let text = format!("That was not right; attempt {attempt}.");
        body.say(&text, body.theme.warning);
    }
}

fn hop_text(hop: &Hop) -> String {
    let kind = if hop.is_jump {
        ", a jump host on the way"
    } else {
        ""
    };
    let name = match hop.host_name.contains(':') {
        true => format!("[{}]", hop.host_name),
        false => hop.host_name.clone(),
    };
    format!("{} ({}@{name}:{}){kind}", hop.alias, hop.user, hop.port)
}

/// The lines to answer in, and where the cursor is in them.
struct Answers {
    lines: Vec<Line<'static>>,
    cursor: Option<(usize, usize)>,
}

fn answers(ask: &Ask, width: u16, theme: &Theme) -> Answers {
    if ask.choices.is_empty() {
        return form_answers(&ask.form, width, theme);
    }
    let context = ask.context();
    let line = |(index, choice): (usize, &Choice)| {
        let key = keymap::label(context, choice.key());
        let is_selected = index == ask.selected;
        let mark = if is_selected { theme.glyphs.prompt } else { " " };
        let style = if is_selected {
            theme.selection
        } else {
            Style::new()
        };
        Line::from(vec![
            Span::raw(format!("{mark} ")),
            Span::styled(format!("{key:<2}"), theme.accent),
            Span::styled(choice.label(), style),
        ])
    };
    let mut lines: Vec<Line<'static>> = ask.choices.iter().enumerate().map(line).collect();
    let note = match context {
        keymap::Context::HostKey => "Enter does what is selected; ← → select; Esc: no",
        _ => "Enter does what is selected; ← → select; Esc: decide later",
    };
    lines.push(Line::from(Span::styled(note, theme.dim)));
    Answers { lines, cursor: None }
}

/// The choices side by side: the room is needed for what is decided on.
fn compact_answers(ask: &Ask, width: u16, theme: &Theme) -> Answers {
    let context = ask.context();
    let mut lines = Vec::new();
    let mut spans = Vec::new();
    for (index, choice) in ask.choices.iter().enumerate() {
        let key = keymap::label(context, choice.key());
        let key = if key.is_empty() { key } else { format!("{key} ") };
        let mark = if index == ask.selected {
            theme.glyphs.prompt
        } else {
            ""
        };
        let key = format!("{mark}{key}");
        let style = if index == ask.selected {
            theme.selection
        } else {
            Style::new()
        };
        let next = [
            Span::styled(key, theme.accent),
            Span::styled(choice.label(), style),
            Span::raw("  "),
        ];
        if !spans.is_empty() && usize::from(width) + 2 < spans_width(&spans) + spans_width(&next) {
            lines.push(Line::from(std::mem::take(&mut spans)));
        }
        spans.extend(next);
    }
    lines.push(Line::from(spans));
    Answers { lines, cursor: None }
}

fn form_answers(form: &Form, width: u16, theme: &Theme) -> Answers {
    let mut answers = Answers {
        lines: Vec::new(),
        cursor: None,
    };
    for (index, field) in form.fields.iter().enumerate() {
        let is_focused = index == form.focus;
        field_lines(field, is_focused, width, theme, &mut answers);
    }
    if let Some(problem) = &form.problem {
        answers
            .lines
            .push(Line::from(Span::styled(problem.clone(), theme.error)));
    }
    answers
}

fn field_lines(field: &Field, is_focused: bool, width: u16, theme: &Theme, answers: &mut Answers) {
    let style = if is_focused { theme.accent } else { theme.dim };
    for text in [&field.about, &field.label] {
        for line in sanitize(text.trim_end()).lines() {
            Wrap::words(width).push(&[Span::styled(line.to_owned(), style)], &mut answers.lines);
        }
    }
    let mark = if is_focused { theme.glyphs.prompt } else { " " };
    let mut line = |text: String, cursor: Option<usize>, style: Style| {
        if let Some(column) = cursor.filter(|_| is_focused) {
            answers.cursor = Some((2 + column, answers.lines.len()));
        }
        let spans = vec![Span::raw(format!("{mark} ")), Span::styled(text, style)];
        answers.lines.push(Line::from(spans));
    };
    let room = usize::from(width.saturating_sub(3));
    match &field.input {
        Input::Secret(secret) => {
            // One mark a character, as far as there is room: it shows that keys arrive.
            let dots = secret.chars().min(room);
            line("*".repeat(dots), Some(dots), Style::new());
        }
        Input::Text(text) => {
            let (shown, column) = tail_of(text.text(), text.cursor(), room);
            line(shown, Some(column), Style::new());
        }
        Input::Options {
            options,
            selected,
            other,
        } => {
            for (index, option) in options.iter().enumerate() {
                let is_selected = index == *selected;
                let bullet = if is_selected { "(x)" } else { "( )" };
                let label = sanitize_line(&option.label);
                let about = sanitize_line(&option.about);
                let style = if is_selected && is_focused {
                    theme.selection
                } else {
                    Style::new()
                };
                line(format!("{bullet} {label}  {about}"), None, style);
            }
            if let Some(other) = other {
                let bullet = if *selected == options.len() { "(x)" } else { "( )" };
                let (shown, column) = tail_of(other.text(), other.cursor(), room.saturating_sub(11));
                let cursor = (*selected == options.len()).then_some(11 + column);
                line(format!("{bullet} other: {shown}"), cursor, Style::new());
            }
        }
    }
}

/// The part of a line around its cursor, and the cursor's column in it.
fn tail_of(text: &str, cursor: usize, room: usize) -> (String, usize) {
    let before = &text[..cursor];
    let mut start = 0;
    for (index, _) in before.char_indices() {
        start = index;
        if text_width(&before[index..]) <= room {
            break;
        }
    }
    let shown = sanitize_line(&text[start..]).into_owned();
    (shown, text_width(&text[start..cursor]))
}
