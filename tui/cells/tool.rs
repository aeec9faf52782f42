//! Calls of tools: MCP servers, tools of the client, other agents, the web.

use codex_protocol::v2::{
    CollabAgentToolCall, DynamicToolCall, DynamicToolCallOutputContentItem, McpToolCall, WebSearch,
};
use ratatui::text::{Line, Span};
use serde_json::Value;

use super::{
    Context,
    block::{self, State},
};
use crate::text::{fold::Fold, sanitize::sanitize_line, wrap::truncate};

/// What stays of a tool's result.
const RESULT_FOLD: Fold = Fold { head: 3, tail: 3 };

/// Columns of arguments that a folded cell shows.
const ARGUMENTS_WIDTH: usize = 160;

/// Bytes of a value that are looked at for one line of it.
const ARGUMENTS_BYTES_MAX: usize = 4 * ARGUMENTS_WIDTH;

pub(super) fn mcp(item: &McpToolCall, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let state = State::read(item.status.as_str(), ctx);
    let name = format!("{}.{}", item.server, item.tool);
    let mut lines = call(&name, &item.arguments, state, item.duration_ms, ctx);
    if let Some(error) = &item.error {
        let message = error
            .get("message")
            .and_then(Value::as_str)
            .map_or_else(|| compact(error), str::to_owned);
        block::detail(&format!("error: {message}"), ctx.theme.error, ctx, &mut lines);
    }
    if let Some(result) = &item.result {
        block::output(&result_text(result), RESULT_FOLD, ctx, &mut lines);
    }
    lines
}

pub(super) fn dynamic(item: &DynamicToolCall, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let state = State::read(item.status.as_str(), ctx);
    let name = match item
        .namespace
        .as_deref()
        .filter(|namespace| !namespace.is_empty())
    {
        Some(namespace) => format!("{namespace}.{}", item.tool),
        None => item.tool.clone(),
    };
    let mut lines = call(&name, &item.arguments, state, item.duration_ms, ctx);
    let part = |part: &DynamicToolCallOutputContentItem| match part {
        DynamicToolCallOutputContentItem::Text(it) => it.text.clone(),
        other => format!("[{}]", other.tag()),
    };
    let parts: Vec<_> = item.content_items.iter().flatten().map(part).collect();
    if !parts.is_empty() {
        block::output(&parts.join("\n"), RESULT_FOLD, ctx, &mut lines);
    }
    lines
}

pub(super) fn collab(item: &CollabAgentToolCall, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let state = State::read(&item.status, ctx);
    let mut lines = call(&item.tool, &Value::Null, state, None, ctx);
    if let Some(prompt) = item.prompt.as_deref().filter(|prompt| !prompt.trim().is_empty()) {
        block::output(prompt, RESULT_FOLD, ctx, &mut lines);
    }
    lines
}

pub(super) fn web_search(item: &WebSearch, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let theme = ctx.theme;
    let state = if ctx.live {
        State::Running
    } else {
        State::Completed
    };
    let query = sanitize_line(item.query.trim());
    let mut spans = vec![Span::styled("web search", theme.accent)];
    if !query.is_empty() {
        spans.push(Span::raw(format!(": {query}")));
    }
    let mut lines = Vec::new();
    block::headline(state.glyph(ctx), &spans, ctx, &mut lines);
    lines
}

/// The headline of a call: state, name, arguments, time.
fn call(
    name: &str,
    arguments: &Value,
    state: State<'_>,
    ms: Option<i64>,
    ctx: &Context<'_>,
) -> Vec<Line<'static>> {
    let theme = ctx.theme;
    let mut spans = vec![Span::styled(sanitize_line(name).into_owned(), theme.accent)];
    let dot = theme.glyphs.dot;
    spans.push(Span::styled(format!(" {dot} {}", state.word()), state.style(ctx)));
    if let Some(ms) = ms.filter(|&ms| ms > 0) {
        spans.push(Span::styled(format!(" {dot} {}", block::duration(ms)), theme.dim));
    }
    let mut lines = Vec::new();
    block::headline(state.glyph(ctx), &spans, ctx, &mut lines);
    let empty = arguments.is_null() || arguments.as_object().is_some_and(serde_json::Map::is_empty);
    if !empty {
        let text = compact(arguments);
        let text = if ctx.expanded {
            sanitize_line(&text).into_owned()
        } else {
            let start = &text[..text.floor_char_boundary(ARGUMENTS_BYTES_MAX)];
            let ellipsis = theme.glyphs.ellipsis;
            let mut shown = truncate(&sanitize_line(start), ARGUMENTS_WIDTH, ellipsis);
            if start.len() < text.len() && !shown.ends_with(ellipsis) {
                shown.push_str(ellipsis);
            }
            shown
        };
        block::detail(&text, theme.dim, ctx, &mut lines);
    }
    lines
}

/// JSON on one line; a string without its quotes.
fn compact(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The text of an MCP result: its text parts, names for other parts, or the JSON when there are no parts.
fn result_text(result: &Value) -> String {
    let Some(parts) = result
        .get("content")
        .and_then(Value::as_array)
        .filter(|parts| !parts.is_empty())
    else {
        let structured = result.get("structuredContent").filter(|value| !value.is_null());
        return structured.map_or_else(String::new, compact);
    };
    let text = |part: &Value| match part.get("text").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => format!(
            "[{}]",
            part.get("type").and_then(Value::as_str).unwrap_or("unknown")
        ),
    };
    parts.iter().map(text).collect::<Vec<_>>().join("\n")
}
