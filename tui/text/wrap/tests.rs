//! Width is kept, text is kept, styles are kept.

use proptest::prelude::*;
use ratatui::style::{Color, Modifier};

use super::*;
use crate::text::testing::{content, plain};

fn words(text: &str, width: u16) -> String {
    let mut lines = Vec::new();
    Wrap::words(width).push(&[Span::raw(text.to_owned())], &mut lines);
    plain(&lines)
}

#[test]
fn words_stay_whole_and_the_space_between_goes() {
    assert_eq!(words("the quick  brown fox", 10), "the quick\nbrown fox\n");
    assert_eq!(words("exactly ten", 7), "exactly\nten\n");
    assert_eq!(words("", 10), "\n");
}

#[test]
fn a_word_wider_than_the_line_is_cut() {
    assert_eq!(words("abcdefghij", 4), "abcd\nefgh\nij\n");
    assert_eq!(words("ab cdefghij", 4), "ab\ncdef\nghij\n");
    assert_eq!(words("    abcdef", 4), "····\nabcd\nef\n");
    assert_eq!(words("  abcdef", 6), "  abcd\nef\n");
}

#[test]
fn wide_graphemes_may_end_a_line_and_are_never_halved() {
    assert_eq!(words("世界世界", 5), "世界\n世界\n");
    assert_eq!(words("ab世界", 3), "ab\n世\n界\n");
    assert_eq!(
        words("👩\u{200d}👩\u{200d}👧e\u{301}x", 2),
        "👩\u{200d}👩\u{200d}👧\ne\u{301}x\n"
    );
}

#[test]
fn a_grapheme_wider_than_the_width_stands_alone() {
    assert_eq!(words("世a界", 1), "世\na\n界\n");
    assert_eq!(words("ab", 0), "a\nb\n");
}

#[test]
fn prefixes_hang_and_give_way_where_there_is_no_room() {
    let (first, rest) = ([Span::raw("* ")], [Span::raw("  ")]);
    let wrap = |width| {
        let mut lines = Vec::new();
        Wrap {
            width,
            breaks: Breaks::Words,
            first: &first,
            rest: &rest,
        }
        .push(&[Span::raw("aa bb")], &mut lines);
        plain(&lines)
    };
    assert_eq!(wrap(5), "* aa\n  bb\n");
    assert_eq!(wrap(4), "* aa\n  bb\n");
    assert_eq!(wrap(3), "aa\nbb\n");
    assert_eq!(wrap(1), "a\na\nb\nb\n");
}

#[test]
fn styles_follow_their_text_across_the_break() {
    let red = Style::new().fg(Color::Red);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = Vec::new();
    Wrap::words(5).push(
        &[Span::styled("aa b", red), Span::styled("b cc", bold)],
        &mut lines,
    );
    let expected = vec![
        Line::from(vec![Span::styled("aa b", red), Span::styled("b", bold)]),
        Line::from(vec![Span::styled("cc", bold)]),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn text_is_truncated_with_an_ellipsis() {
    assert_eq!(truncate("abcdef", 4, "…"), "abc…");
    assert_eq!(truncate("世界世界", 4, "…"), "世…");
    assert_eq!(truncate("abc", 3, "…"), "abc");
    assert_eq!(truncate("abc", 2, "..."), "ab");
    assert_eq!(truncate("abc", 0, "…"), "");
}

#[test]
fn width_is_what_the_drawing_buffer_takes() {
    use ratatui::buffer::Buffer;
    for text in [
        "plain",
        "世界",
        "e\u{301}",
        "👩\u{200d}👩\u{200d}👧",
        "❤\u{fe0f}",
        "لا",
        "ｶﾞ",
        "हिन्दी",
        "각",
    ] {
        let mut buffer = Buffer::empty(ratatui::layout::Rect::new(0, 0, 40, 1));
        let (end, _) = buffer.set_stringn(0, 0, text, 40, Style::new());
        assert_eq!(usize::from(end), text_width(text), "{text}");
    }
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_width(
        text in "[a-z世界👍é \u{301}]{0,80}", width in 0u16..30, prefix in "[> ]{0,6}", anywhere in any::<bool>(),
    ) {
        let prefix = [Span::raw(prefix)];
        let breaks = if anywhere { Breaks::Anywhere } else { Breaks::Words };
        let mut lines = Vec::new();
        Wrap { width, breaks, first: &prefix, rest: &prefix }.push(&[Span::raw(text)], &mut lines);
        for line in &lines {
            let text = content(line);
            prop_assert!(text_width(&text) <= usize::from(width.max(1)) || text.graphemes(true).count() == 1, "{text:?}");
        }
    }

    #[test]
    fn only_white_space_at_breaks_is_lost(text in "[a-z世👍 ]{0,80}", width in 0u16..30, cut in 0usize..80) {
        let cut = text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(text.len());
        let spans = [Span::raw(text[..cut].to_owned()), Span::raw(text[cut..].to_owned())];
        let mut lines = Vec::new();
        Wrap::words(width).push(&spans, &mut lines);
        let mut rest = text.as_str();
        for line in &lines {
            let shown = content(line);
            rest = rest.strip_prefix(shown.as_str()).or_else(|| rest.trim_start().strip_prefix(shown.as_str()))
                .ok_or_else(|| TestCaseError::fail(format!("{shown:?} is not at the start of {rest:?}")))?;
        }
        prop_assert_eq!(rest.trim(), "");
        let mut lines = Vec::new();
        Wrap::anywhere(width).push(&spans, &mut lines);
        prop_assert_eq!(lines.iter().map(content).collect::<String>(), text);
    }
}
