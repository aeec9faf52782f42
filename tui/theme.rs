//! Named styles and glyphs: one place that says what each meaning looks like.
//!
//! Styles use the terminal's own 16 colours, so they follow the user's palette, light or dark. Colour only
//! repeats what a word, a mark or a modifier says already: the plain theme loses nothing.

use ratatui::style::{Color, Modifier, Style};

/// What the environment says about the terminal. Read by the binary, which alone may read variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environment<'a> {
    /// `NO_COLOR` is set and not empty (no-color.org).
    pub no_color: bool,
    /// `TERM`, when set.
    pub term: Option<&'a str>,
    /// The locale's character set is UTF-8, as far as `LC_ALL`, `LC_CTYPE` and `LANG` tell.
    pub utf8: bool,
}

/// The look of everything that is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theme {
    /// What the user said.
    pub user: Style,
    /// What the model said.
    pub agent: Style,
    pub reasoning: Style,
    /// A command line.
    pub command: Style,
    /// What a command printed.
    pub output: Style,
    pub path: Style,
    /// A line that a patch adds.
    pub added: Style,
    /// A line that a patch removes.
    pub removed: Style,
    /// A hunk header.
    pub hunk: Style,
    /// Inline code and code blocks.
    pub code: Style,
    pub heading: Style,
    pub link: Style,
    pub quote: Style,
    pub error: Style,
    pub warning: Style,
    /// What may be overlooked: hints, counts, line numbers.
    pub dim: Style,
    pub accent: Style,
    pub selection: Style,
    /// Somebody waits for the user.
    pub needs_you: Style,
    pub working: Style,
    pub done: Style,
    pub failed: Style,
    pub idle: Style,
    pub unreachable: Style,
    pub glyphs: &'static Glyphs,
}

/// The marks beside the text. Each is followed or explained by a word where it carries meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Before what the user said.
    pub prompt: &'static str,
    /// Before a list item, a tool call, a notice.
    pub bullet: &'static str,
    pub working: &'static str,
    pub done: &'static str,
    pub failed: &'static str,
    pub warning: &'static str,
    /// The states of a step of a plan.
    pub pending: &'static str,
    pub active: &'static str,
    pub complete: &'static str,
    /// Before quoted text and output.
    pub bar: &'static str,
    /// Between the columns of a table.
    pub column: &'static str,
    /// Horizontal rules.
    pub rule: &'static str,
    /// Where the rule below a table's head meets a column.
    pub cross: &'static str,
    pub arrow: &'static str,
    pub ellipsis: &'static str,
    /// The minus sign of counts.
    pub minus: &'static str,
    /// Between the parts of a line of facts.
    pub dot: &'static str,
}

/// Glyphs for terminals that draw Unicode.
pub static UNICODE: Glyphs = Glyphs {
    prompt: "›",
    bullet: "•",
    working: "◐",
    done: "✓",
    failed: "✗",
    warning: "!",
    pending: "☐",
    active: "◐",
    complete: "☑",
    bar: "│",
    column: "│",
    rule: "─",
    cross: "┼",
    arrow: "→",
    ellipsis: "…",
    minus: "−",
    dot: "·",
};

/// Glyphs for everything else.
pub static ASCII: Glyphs = Glyphs {
    prompt: ">",
    bullet: "*",
    working: "~",
    done: "+",
    failed: "x",
    warning: "!",
    pending: "[todo]",
    active: "[doing]",
    complete: "[done]",
    bar: "|",
    column: "|",
    rule: "-",
    cross: "+",
    arrow: "->",
    ellipsis: "...",
    minus: "-",
    dot: "-",
};

impl Theme {
    /// Chooses the theme: plain when colour is unwanted or impossible, ASCII when Unicode is.
    pub fn from_environment(environment: Environment<'_>) -> Self {
        let dumb = environment
            .term
            .is_none_or(|term| term.is_empty() || term == "dumb");
        let theme = if environment.no_color || dumb {
            Self::plain()
        } else {
            Self::ansi()
        };
        // The Linux console's font has 256 or 512 glyphs: no check boxes, no half circles.
        let ascii = dumb || !environment.utf8 || environment.term == Some("linux");
        Self {
            glyphs: if ascii { &ASCII } else { &UNICODE },
            ..theme
        }
    }

    /// The 16 colours of the terminal.
    pub fn ansi() -> Self {
        let plain = Self::plain();
        Self {
            user: plain.user.fg(Color::Cyan),
            path: plain.path.fg(Color::Cyan),
            added: plain.added.fg(Color::Green),
            removed: plain.removed.fg(Color::Red),
            hunk: Style::new().fg(Color::Cyan),
            code: Style::new().fg(Color::Cyan),
            link: plain.link.fg(Color::Blue),
            error: plain.error.fg(Color::Red),
            warning: plain.warning.fg(Color::Yellow),
            accent: plain.accent.fg(Color::Cyan),
            needs_you: Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD),
            working: Style::new().fg(Color::Blue),
            done: plain.done.fg(Color::Green),
            failed: plain.failed.fg(Color::Red),
            unreachable: plain.unreachable.fg(Color::Red),
            ..plain
        }
    }

    /// Modifiers only: for `NO_COLOR` and for terminals without colour.
    pub fn plain() -> Self {
        let none = Style::new();
        let with = |modifier| Style::new().add_modifier(modifier);
        Self {
            user: with(Modifier::BOLD),
            agent: none,
            reasoning: with(Modifier::DIM | Modifier::ITALIC),
            command: with(Modifier::BOLD),
            output: with(Modifier::DIM),
            path: none,
            added: none,
            removed: none,
            hunk: with(Modifier::DIM),
            code: with(Modifier::BOLD),
            heading: with(Modifier::BOLD | Modifier::UNDERLINED),
            link: with(Modifier::UNDERLINED),
            quote: with(Modifier::DIM),
            error: with(Modifier::BOLD),
            warning: with(Modifier::BOLD),
            dim: with(Modifier::DIM),
            accent: with(Modifier::BOLD),
            selection: with(Modifier::REVERSED),
            needs_you: with(Modifier::REVERSED | Modifier::BOLD),
            working: with(Modifier::BOLD),
            done: none,
            failed: with(Modifier::BOLD),
            idle: with(Modifier::DIM),
            unreachable: with(Modifier::DIM | Modifier::UNDERLINED),
            glyphs: &UNICODE,
        }
    }

    /// Every style, for what must hold of all.
    #[cfg(test)]
    fn styles(&self) -> Vec<Style> {
        vec![
            self.user,
            self.agent,
            self.reasoning,
            self.command,
            self.output,
            self.path,
            self.added,
            self.removed,
            self.hunk,
            self.code,
            self.heading,
            self.link,
            self.quote,
            self.error,
            self.warning,
            self.dim,
            self.accent,
            self.selection,
            self.needs_you,
            self.working,
            self.done,
            self.failed,
            self.idle,
            self.unreachable,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOR: Environment<'static> = Environment {
        no_color: false,
        term: Some("xterm-256color"),
        utf8: true,
    };

    #[test]
    fn the_plain_theme_has_no_colour_at_all() {
        for style in Theme::plain().styles() {
            assert_eq!((style.fg, style.bg), (None, None), "{style:?}");
        }
    }

    #[test]
    fn the_colour_theme_uses_the_sixteen_colours_only() {
        for style in Theme::ansi().styles() {
            assert!(
                !matches!(style.fg, Some(Color::Rgb(..) | Color::Indexed(_))),
                "{style:?}"
            );
            assert_eq!(style.bg, None, "a background would fight the terminal's own");
        }
    }

    #[test]
    fn no_color_and_a_dumb_terminal_mean_plain() {
        assert_eq!(Theme::from_environment(COLOR), Theme::ansi());
        let plain = Theme::from_environment(Environment {
            no_color: true,
            ..COLOR
        });
        assert_eq!(plain, Theme::plain());
        for term in [Some("dumb"), Some(""), None] {
            let dumb = Theme::from_environment(Environment { term, ..COLOR });
            assert_eq!(
                dumb,
                Theme {
                    glyphs: &ASCII,
                    ..Theme::plain()
                }
            );
        }
    }

    #[test]
    fn without_utf_8_the_glyphs_are_ascii() {
        let theme = Theme::from_environment(Environment { utf8: false, ..COLOR });
        let glyphs = format!("{:?}", theme.glyphs);
        assert!(glyphs.is_ascii(), "{glyphs}");
    }
}
