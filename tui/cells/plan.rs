//! Plans: the text of plan mode, and the steps that the model ticks off.

use codex_protocol::v2::{PlanItem, TurnPlanStep, TurnPlanStepStatus};
use ratatui::text::{Line, Span};

use super::{Context, block};
use crate::text::{markdown, sanitize::sanitize_line};

pub(super) fn text(item: &PlanItem, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let body = markdown::render(
        &item.text,
        markdown::Options {
            width: ctx.width,
            theme: ctx.theme,
            live: ctx.live,
        },
    );
    if body.is_empty() {
        return body;
    }
    let mut lines = Vec::new();
    let mark = Span::styled(ctx.theme.glyphs.bullet, ctx.theme.accent);
    block::headline(mark, &[Span::styled("plan", ctx.theme.heading)], ctx, &mut lines);
    lines.extend(body);
    lines
}

/// Renders `turn/plan/updated`: each step with a box that says how far it is. No steps have no lines.
pub fn plan(steps: &[TurnPlanStep], explanation: Option<&str>, ctx: &Context<'_>) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if steps.is_empty() {
        return lines;
    }
    let theme = ctx.theme;
    let done = steps
        .iter()
        .filter(|step| step.status == TurnPlanStepStatus::Completed)
        .count();
    let spans = [
        Span::styled("plan", theme.heading),
        Span::styled(
            format!(" {} {done} of {} done", theme.glyphs.dot, steps.len()),
            theme.dim,
        ),
    ];
    block::headline(
        Span::styled(theme.glyphs.bullet, theme.accent),
        &spans,
        ctx,
        &mut lines,
    );
    if let Some(explanation) = explanation {
        block::detail(explanation, theme.dim, ctx, &mut lines);
    }
    for step in steps {
        let (glyph, mark, style) = match step.status {
            TurnPlanStepStatus::Completed => (theme.glyphs.complete, theme.done, theme.dim),
            TurnPlanStepStatus::InProgress => (theme.glyphs.active, theme.working, theme.agent),
            TurnPlanStepStatus::Pending | TurnPlanStepStatus::Other(_) => {
                (theme.glyphs.pending, theme.dim, theme.agent)
            }
        };
        let words = sanitize_line(step.step.trim()).into_owned();
        block::headline(
            Span::styled(format!("  {glyph}"), mark),
            &[Span::styled(words, style)],
            ctx,
            &mut lines,
        );
    }
    lines
}
