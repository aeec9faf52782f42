//! Markdown (CommonMark with GitHub's tables, task lists and strikethrough) to lines.
//!
//! Line breaks of a paragraph stay: a model that breaks a line means it. A link's target is always shown
//! when it differs from its text.

mod stream;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options as Syntax, Parser, Tag, TagEnd};
use ratatui::{
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    sanitize::{sanitize, sanitize_line},
    table::Table,
    wrap::{Breaks, Wrap, spans_width, text_width},
};
use crate::theme::Theme;
pub use stream::Stream;

/// How text is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// In columns.
    pub width: u16,
    pub theme: &'a Theme,
    /// More text may follow: a last line that is only the beginning of some syntax is not shown yet.
    pub live: bool,
}

/// Renders Markdown. Empty text has no lines.
pub fn render(text: &str, options: Options<'_>) -> Vec<Line<'static>> {
    render_clean(&sanitize(text), options)
}

/// Renders Markdown that is sanitized.
fn render_clean(text: &str, options: Options<'_>) -> Vec<Line<'static>> {
    let text = if options.live { settled(text) } else { text };
    let mut renderer = Renderer::new(options);
    for event in Parser::new_ext(without_blank_end(text), syntax()) {
        renderer.event(event);
    }
    renderer.end_text();
    renderer.lines
}

/// The extensions of CommonMark that are read.
fn syntax() -> Syntax {
    Syntax::ENABLE_TABLES | Syntax::ENABLE_STRIKETHROUGH | Syntax::ENABLE_TASKLISTS
}

/// The text without a last line that has no end yet and is punctuation only. Such a line may turn into
/// anything with the next character, and until then it turns the paragraph above into a heading or shows
/// half a fence.
fn settled(text: &str) -> &str {
    let start = text.rfind('\n').map_or(0, |at| at + 1);
    let undecided = text[start..].chars().all(|c| "-=*#`~+|:_> ".contains(c));
    if undecided { &text[..start] } else { text }
}

/// What a block stands in.
enum Container {
    Quote,
    /// The marker is there until the item's first line is drawn.
    Item {
        marker: Option<Span<'static>>,
        width: usize,
    },
}

struct Renderer<'a> {
    options: Options<'a>,
    lines: Vec<Line<'static>>,
    containers: Vec<Container>,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    styles: Vec<Style>,
    /// The line of a paragraph, heading or cell that is being read.
    inline: Vec<Span<'static>>,
    /// The targets of open links, each with where its text begins in `inline`.
    links: Vec<(String, usize)>,
    /// The code block being read.
    code: Option<String>,
    table: Option<Table>,
    /// A block ended: an empty line goes before the next.
    gap: bool,
    /// What the empty line begins with, once the next block has begun to nest.
    gap_bars: Option<Vec<Span<'static>>>,
}

impl<'a> Renderer<'a> {
    fn new(options: Options<'a>) -> Self {
        Self {
            options,
            lines: Vec::new(),
            containers: Vec::new(),
            lists: Vec::new(),
            styles: vec![options.theme.agent],
            inline: Vec::new(),
            links: Vec::new(),
            code: None,
            table: None,
            gap: false,
            gap_bars: None,
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.text(&text, self.style()),
            },
            Event::Code(text) => self.text(&text, self.style().patch(self.options.theme.code)),
            Event::Html(text) | Event::InlineHtml(text) => self.html(&text),
            Event::SoftBreak | Event::HardBreak if self.table.is_some() => self.text(" ", self.style()),
            Event::SoftBreak | Event::HardBreak => self.end_line(),
            Event::Rule => self.rule(),
            Event::TaskListMarker(checked) => self.task(checked),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.text(&text, self.style());
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        let theme = self.options.theme;
        match tag {
            Tag::Heading { level, .. } => {
                self.end_text();
                let small = theme.agent.add_modifier(Modifier::BOLD);
                let style = if level <= HeadingLevel::H2 {
                    theme.heading
                } else {
                    small
                };
                self.styles.push(style);
            }
            Tag::BlockQuote(_) => {
                self.end_text();
                if self.gap && self.gap_bars.is_none() {
                    self.gap_bars = Some(self.bars());
                }
                self.containers.push(Container::Quote);
                self.styles.push(self.style().patch(theme.quote));
            }
            Tag::CodeBlock(kind) => self.start_code(&kind),
            Tag::List(first) => {
                self.end_text();
                self.lists.push(first);
            }
            Tag::Item => self.start_item(),
            Tag::Emphasis => self.styles.push(self.style().add_modifier(Modifier::ITALIC)),
            Tag::Strong => self.styles.push(self.style().add_modifier(Modifier::BOLD)),
            Tag::Strikethrough => self.styles.push(self.style().add_modifier(Modifier::CROSSED_OUT)),
            Tag::Link { dest_url, .. } => {
                self.links
                    .push((sanitize_line(&dest_url).into_owned(), self.inline.len()));
                self.styles.push(self.style().patch(theme.link));
            }
            Tag::Image { dest_url, .. } => {
                self.text("[image] ", theme.dim);
                self.links
                    .push((sanitize_line(&dest_url).into_owned(), self.inline.len()));
                self.styles.push(self.style());
            }
            Tag::Table(alignments) => {
                self.end_text();
                self.table = Some(Table::new(alignments));
            }
            Tag::TableHead => self.styles.push(self.style().add_modifier(Modifier::BOLD)),
            // Blocks of their own syntax, which is not enabled, or with nothing to draw.
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => {
                self.end_text();
                self.gap = true;
            }
            TagEnd::Heading(_) => {
                self.end_text();
                self.styles.pop();
                self.gap = true;
            }
            TagEnd::BlockQuote(_) => {
                self.end_text();
                self.styles.pop();
                self.containers.pop();
                self.gap = true;
            }
            TagEnd::CodeBlock => self.end_code(),
            TagEnd::List(_) => {
                self.lists.pop();
                self.gap |= self.lists.is_empty();
            }
            TagEnd::Item => self.end_item(),
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => drop(self.styles.pop()),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.inline);
                if let Some(table) = &mut self.table {
                    table.push_cell(cell);
                }
            }
            TagEnd::TableHead | TagEnd::TableRow => {
                if tag == TagEnd::TableHead {
                    self.styles.pop();
                }
                if let Some(table) = &mut self.table {
                    table.end_row();
                }
            }
            TagEnd::Table => self.end_table(),
            _ => {}
        }
    }

    fn style(&self) -> Style {
        self.styles.last().copied().unwrap_or_default()
    }

    /// Adds text. Entities such as `&#27;` arrive decoded, so it is sanitized here once more.
    fn text(&mut self, text: &str, style: Style) {
        let text = sanitize_line(text).into_owned();
        if !text.is_empty() {
            self.inline.push(Span::styled(text, style));
        }
    }

    fn html(&mut self, html: &str) {
        let style = self.style().patch(self.options.theme.dim);
        let whole_lines = html.ends_with('\n');
        for line in html.lines() {
            self.text(line, style);
            if whole_lines {
                self.end_line();
            }
        }
    }

    fn start_item(&mut self) {
        self.end_text();
        let theme = self.options.theme;
        let marker = match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{number}. ");
                *number = number.saturating_add(1);
                marker
            }
            _ => format!("{} ", theme.glyphs.bullet),
        };
        let width = text_width(&marker);
        self.containers.push(Container::Item {
            marker: Some(Span::styled(marker, theme.accent)),
            width,
        });
    }

    /// A check box stands in the place of the bullet.
    fn task(&mut self, checked: bool) {
        let theme = self.options.theme;
        let (glyph, style) = match checked {
            true => (theme.glyphs.complete, theme.done),
            false => (theme.glyphs.pending, theme.dim),
        };
        if let Some(Container::Item { marker, width }) = self.containers.last_mut() {
            let text = format!("{glyph} ");
            *width = text_width(&text);
            *marker = Some(Span::styled(text, style));
        }
    }

    fn end_item(&mut self) {
        self.end_text();
        if matches!(
            self.containers.last(),
            Some(Container::Item { marker: Some(_), .. })
        ) {
            self.draw(&[], Breaks::Words);
        }
        self.containers.pop();
    }

    fn end_link(&mut self) {
        self.styles.pop();
        let Some((target, start)) = self.links.pop() else {
            return;
        };
        let shown: String = self
            .inline
            .iter()
            .skip(start)
            .map(|span| span.content.as_ref())
            .collect();
        let same = target == shown || target.strip_prefix("mailto:") == Some(&shown);
        if !same && !target.is_empty() {
            self.inline
                .push(Span::styled(format!(" ({target})"), self.options.theme.dim));
        }
    }

    fn start_code(&mut self, kind: &CodeBlockKind<'_>) {
        self.end_text();
        self.code = Some(String::new());
        let CodeBlockKind::Fenced(info) = kind else { return };
        let info = sanitize_line(info);
        if let Some(language) = info.split([' ', ',', '{']).next().filter(|word| !word.is_empty()) {
            let theme = self.options.theme;
            let label = format!("{}{} {language}", theme.glyphs.rule, theme.glyphs.rule);
            self.draw(&[Span::styled(label, theme.dim)], Breaks::Words);
        }
    }

    fn end_code(&mut self) {
        let code = self.code.take().unwrap_or_default();
        let style = self.options.theme.code;
        let code = sanitize(code.trim_end_matches('\n'));
        self.containers.push(Container::Item {
            marker: None,
            width: 2,
        });
        for line in code.split('\n') {
            self.draw(&[Span::styled(line, style)], Breaks::Anywhere);
        }
        self.containers.pop();
        self.gap = true;
    }

    fn rule(&mut self) {
        self.end_text();
        let theme = self.options.theme;
        let room = self.room();
        self.draw(
            &[Span::styled(theme.glyphs.rule.repeat(room), theme.dim)],
            Breaks::Anywhere,
        );
        self.gap = true;
    }

    fn end_table(&mut self) {
        let Some(table) = self.table.take() else { return };
        for line in table.draw(self.room(), self.options.theme) {
            // The table is as wide as it may be already.
            self.draw(&line.spans, Breaks::Anywhere);
        }
        self.gap = true;
    }

    /// Draws the line of text read so far, even if it is empty.
    fn end_line(&mut self) {
        let spans = std::mem::take(&mut self.inline);
        // What a link's text began on is drawn: only the rest is left to compare with its target.
        self.links.iter_mut().for_each(|link| link.1 = 0);
        self.draw(&spans, Breaks::Words);
    }

    fn end_text(&mut self) {
        if !self.inline.is_empty() {
            self.end_line();
        }
    }

    /// Columns beside the prefixes.
    fn room(&self) -> usize {
        let (_, rest) = self.prefixes();
        usize::from(self.options.width)
            .saturating_sub(spans_width(&rest))
            .max(1)
    }

    fn draw(&mut self, spans: &[Span<'_>], breaks: Breaks) {
        self.fill_gap();
        let (first, rest) = self.prefixes();
        let wrap = Wrap {
            width: self.options.width,
            breaks,
            first: &first,
            rest: &rest,
        };
        wrap.push(spans, &mut self.lines);
        for container in &mut self.containers {
            if let Container::Item { marker, .. } = container {
                *marker = None;
            }
        }
    }

    /// Draws the empty line between two blocks, with the bars of the quotes that both stand in.
    fn fill_gap(&mut self) {
        let bars = self.gap_bars.take();
        if std::mem::take(&mut self.gap) && !self.lines.is_empty() {
            let bars = bars.unwrap_or_else(|| self.bars());
            self.lines.push(Line::from(bars));
        }
    }

    /// The prefix of a line without text.
    fn bars(&self) -> Vec<Span<'static>> {
        let (_, mut bars) = self.prefixes();
        while bars.last().is_some_and(|span| span.content.trim().is_empty()) {
            bars.pop();
        }
        bars
    }

    /// What stands before the first and before later lines. Where nesting takes more than half of the
    /// width, the outer levels go.
    fn prefixes(&self) -> (Vec<Span<'static>>, Vec<Span<'static>>) {
        let theme = self.options.theme;
        let room = usize::from(self.options.width / 2);
        let mut used = 0;
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for container in self.containers.iter().rev() {
            let (head, tail, width) = match container {
                Container::Quote => {
                    let bar = Span::styled(format!("{} ", theme.glyphs.bar), theme.dim);
                    (bar.clone(), bar, 2)
                }
                Container::Item { marker, width } => {
                    let space = Span::raw(" ".repeat(*width));
                    (marker.clone().unwrap_or_else(|| space.clone()), space, *width)
                }
            };
            used += width;
            if used > room {
                break;
            }
            first.push(head);
            rest.push(tail);
        }
        first.reverse();
        rest.reverse();
        (first, rest)
    }
}

/// The text without the blank lines at its end. Spaces at the end of its last line stay: they may be code.
fn without_blank_end(text: &str) -> &str {
    let last = text.trim_end().len();
    let end = text[last..].find('\n').map_or(text.len(), |it| last + it);
    &text[..end]
}

#[cfg(test)]
mod tests;
