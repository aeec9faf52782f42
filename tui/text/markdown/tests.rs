//! Markdown as models write it, whole and in the middle of being written.

use proptest::prelude::*;

use super::*;
use crate::text::testing::{WIDTHS, content, plain, styled};

const DOCUMENT: &str = "# Findings\n\nThe *cache* is **never** cleared; see `Store::get` and\nthe ~~old~~ notes.\n\n## Steps\n\n1. Read `store.rs`\n2. Change it:\n   - first the lock\n   - then the map, which is a rather long item that wraps\n3. Test\n\n- [x] done\n- [ ] open\n\n> A quote with a [link](https://example.org/a) in it\n>\n> > and one inside\n\n```rust\nfn main() {\n    println!(\"a line of code that is too long for narrow screens\");\n}\n```\n\n| Name | Count | 説明 |\n|:-----|------:|:---:|\n| alpha | 1 | 一つ |\n| a much longer name | 1000 | x |\n\n---\n\n<https://example.org> and ![a picture](pic.png)\n";

fn draw(text: &str, width: u16) -> String {
    plain(&render(
        text,
        Options {
            width,
            theme: &Theme::plain(),
            live: false,
        },
    ))
}

fn live(text: &str) -> String {
    plain(&render(
        text,
        Options {
            width: 40,
            theme: &Theme::plain(),
            live: true,
        },
    ))
}

#[test]
fn a_document_is_drawn_at_every_width() {
    for width in WIDTHS {
        insta::assert_snapshot!(format!("document_{width}"), draw(DOCUMENT, width));
    }
}

#[test]
fn a_document_has_its_styles() {
    let lines = render(
        DOCUMENT,
        Options {
            width: 60,
            theme: &Theme::ansi(),
            live: false,
        },
    );
    insta::assert_snapshot!("document_styled", styled(&lines));
}

#[test]
fn a_links_target_cannot_hide_behind_its_text() {
    assert_eq!(
        draw("[bank.example](https://evil.example)", 80),
        "bank.example (https://evil.example)\n"
    );
    assert_eq!(draw("<https://a.example>", 80), "https://a.example\n");
    assert_eq!(
        draw("[https://a.example](https://a.example)", 80),
        "https://a.example\n"
    );
    assert_eq!(draw("<me@a.example>", 80), "me@a.example\n");
    assert_eq!(
        draw("[https://a.example\nx](https://a.example)", 80),
        "https://a.example\nx (https://a.example)\n"
    );
}

#[test]
fn entities_and_escapes_cannot_smuggle_control_characters() {
    assert_eq!(
        draw("a&#27;[31mb&#x202e;c &#10;d [x](http://a&#27;]0;t)", 80),
        "a[31mbc  d x (http://a)\n"
    );
    assert_eq!(draw("```a&#27;[2Jb\nx\u{1b}[2J\n```", 80), "── ab\n  x\n");
}

#[test]
fn code_that_is_being_written_has_no_half_fence() {
    assert_eq!(
        live("Look:\n\n```rust\nlet a = 1;\n``"),
        "Look:\n\n── rust\n  let a = 1;\n"
    );
    assert_eq!(live("Look:\n\n``"), "Look:\n");
    assert_eq!(live("Look:\n\n```rust\nlet a"), "Look:\n\n── rust\n  let a\n");
}

#[test]
fn a_list_or_table_that_begins_makes_no_heading() {
    let lines = |text| {
        render(
            text,
            Options {
                width: 40,
                theme: &Theme::plain(),
                live: true,
            },
        )
    };
    assert_eq!(styled(&lines("Steps:\n-")), styled(&lines("Steps:")));
    assert_eq!(live("| a | b |\n|--"), "| a | b |\n");
    assert_eq!(live("| a | b |\n|---|---|\n| 1"), "a │ b\n──┼──\n1 │·\n");
}

#[test]
fn lists_without_text_and_deep_ones_are_drawn() {
    assert_eq!(draw("-\n- a", 20), "•\n• a\n".replace("•\n", "•·\n"));
    let deep: String = (0..12)
        .map(|level| format!("{}- item\n", "  ".repeat(level)))
        .collect();
    assert!(
        render(
            &deep,
            Options {
                width: 12,
                theme: &Theme::plain(),
                live: false
            }
        )
        .len()
            >= 12
    );
    assert_eq!(draw("- a\n\n  b\n- c", 20), "• a\n\n  b\n\n• c\n");
}

#[test]
fn a_table_that_cannot_fit_becomes_a_list() {
    let text = "| Name | Count | Remark |\n|-|-|-|\n| alpha beta | 12 | something |\n";
    assert_eq!(draw(text, 18), "Name: alpha beta\nCount: 12\nRemark: something\n");
}

#[test]
fn html_is_text() {
    assert_eq!(
        draw("a <b>c</b>\n\n<script>\nx\n</script>", 40),
        "a <b>c</b>\n\n<script>\nx\n</script>\n"
    );
}

#[test]
fn nothing_is_drawn_for_nothing() {
    for text in ["", "  \n\n", "\u{1b}[0m"] {
        assert_eq!(draw(text, 40), "");
    }
}

#[test]
fn deep_nesting_takes_no_quadratic_time() {
    for piece in ["> ", "- ", "[", "*", "`", "| ", "![", "<", "&#27;"] {
        let text = piece.repeat(20_000);
        draw(&text, 40);
    }
}

proptest! {
    #[test]
    fn every_beginning_of_a_text_is_drawn_safely(end in 0usize..900, width in 0u16..60) {
        let end = DOCUMENT.floor_char_boundary(end.min(DOCUMENT.len()));
        check_lines(&DOCUMENT[..end], width)?;
    }

    #[test]
    fn any_mixture_of_syntax_is_drawn_safely(
        pieces in prop::collection::vec("[-*#>|`~_=+ \n\\[\\]()a世\u{1b}\u{202e}&;1.!<]{1,8}", 0..30), width in 0u16..60,
    ) {
        check_lines(&pieces.concat(), width)?;
    }
}

fn check_lines(text: &str, width: u16) -> Result<(), TestCaseError> {
    for live in [true, false] {
        for line in render(
            text,
            Options {
                width,
                theme: &Theme::plain(),
                live,
            },
        ) {
            let text = content(&line);
            prop_assert!(!text.chars().any(char::is_control), "{text:?}");
            let shown = crate::text::wrap::text_width(&text);
            prop_assert!(
                shown <= usize::from(width.max(1)) || text.chars().count() == 1,
                "{text:?} at {width}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_stream_shows_at_every_step_what_the_whole_text_shows() {
    let theme = Theme::plain();
    let text = format!(
        "{DOCUMENT}\n    indented code\n\n- loose\n\n- list\n\n  more\n\nlast\r\n\u{1b}[31mred\tend\n"
    );
    for step in [1, 7, 50] {
        let mut stream = Stream::new();
        let mut end = 0;
        while end < text.len() {
            end = text.ceil_char_boundary(end + step);
            let options = Options {
                width: 40,
                theme: &theme,
                live: true,
            };
            let shown = plain(stream.update(&text[..end], options));
            assert_eq!(shown, plain(&render(&text[..end], options)), "{:?}", &text[..end]);
        }
    }
}

#[test]
fn a_complete_line_of_punctuation_counts() {
    assert_eq!(live("Title\n---\n"), "Title\n");
    assert_eq!(live("0\n|`\n-|\n"), "0\n\n`\n─\n");
}

proptest! {
    #[test]
    fn a_stream_of_any_syntax_agrees_with_the_whole(
        pieces in prop::collection::vec("[-*#>|`~=+ \n0a世\u{1b};1.<]{1,6}", 1..20), width in 1u16..60,
    ) {
        let theme = Theme::plain();
        let options = Options { width, theme: &theme, live: true };
        let (mut stream, mut text) = (Stream::new(), String::new());
        for piece in pieces {
            text.push_str(&piece);
            prop_assert_eq!(plain(stream.update(&text, options)), plain(&render(&text, options)), "{:?}", text);
        }
    }
}
