//! Items of a thread as lines: what each one looks like, and nothing about where it stands.
//!
//! Everything here takes text of a remote and returns text that is safe to draw.

mod block;
mod command;
mod marker;
mod message;
mod notice;
mod patch;
mod plan;
mod reasoning;
#[cfg(test)]
mod tests;
mod tool;

use codex_protocol::v2::ThreadItem;
use ratatui::text::Line;

use crate::theme::Theme;
pub use command::{exact_command, readable_command};
pub use notice::{Level, error, notice, turn_summary};
pub use plan::plan;

/// What a cell needs to know besides its item.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// In columns.
    pub width: u16,
    pub theme: &'a Theme,
    /// Full output instead of head and tail.
    pub expanded: bool,
    /// The item is still running.
    pub live: bool,
}

/// Renders one item. An item that has nothing to show yet has no lines.
pub fn render(item: &ThreadItem, ctx: &Context<'_>) -> Vec<Line<'static>> {
    match item {
        ThreadItem::UserMessage(item) => message::user(item, ctx),
        ThreadItem::AgentMessage(item) => message::agent(item, ctx),
        ThreadItem::Reasoning(item) => reasoning::reasoning(item, ctx),
        ThreadItem::CommandExecution(item) => command::command(item, ctx),
        ThreadItem::FileChange(item) => patch::file_change(item, ctx),
        ThreadItem::McpToolCall(item) => tool::mcp(item, ctx),
        ThreadItem::DynamicToolCall(item) => tool::dynamic(item, ctx),
        ThreadItem::CollabAgentToolCall(item) => tool::collab(item, ctx),
        ThreadItem::WebSearch(item) => tool::web_search(item, ctx),
        ThreadItem::Plan(item) => plan::text(item, ctx),
        ThreadItem::ImageView(item) => marker::image(item, ctx),
        ThreadItem::EnteredReviewMode(item) => marker::review_entered(item, ctx),
        ThreadItem::ExitedReviewMode(item) => marker::review_exited(item, ctx),
        ThreadItem::ContextCompaction(_) => marker::compaction(ctx),
        ThreadItem::Unknown(_) => marker::unknown(item.tag(), ctx),
    }
}
