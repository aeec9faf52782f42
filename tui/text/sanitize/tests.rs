//! Hostile text, and text that must not be touched.

use proptest::prelude::*;

use super::*;
use crate::text::testing::besides_printing;

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(sanitize(text), expected, "{text:?}");
}

#[test]
fn printable_text_is_not_touched_and_not_copied() {
    for text in [
        "",
        "plain\ntext\n",
        "Grüße, 世界",
        "e\u{301}",
        "👍🏽 ❤️",
        "हिन्दी",
        "שלום",
    ] {
        check(text, text);
    }
    assert!(matches!(sanitize("Grüße\n世界"), Cow::Borrowed(_)));
}

#[test]
fn flags_become_letters_because_terminals_disagree_about_their_width() {
    check("a 🇩🇪 flag", "a DE flag");
    check("🇦🇿", "AZ");
    check("🇩", "D");
    check("50 %\r🇩🇪", "DE %");
    assert_eq!(crate::text::wrap::text_width("🇩🇪"), 2);
}

#[test]
fn control_sequences_are_taken_out_whole() {
    check("a\u{1b}[31mred\u{1b}[0m b", "ared b");
    check("\u{1b}[2J\u{1b}[1;1H\u{1b}[?1049hx", "x");
    check("\u{9b}31mx", "x");
    check("\u{1b}(0x\u{1b}c\u{1b}7y\u{1b}#8", "xy");
    check("\u{1b}]0;title\u{7}x", "x");
    check("\u{1b}]8;;http://a\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link");
    check("\u{1b}]52;c;aGk=\u{9c}x\u{9d}0;t\u{7}y", "xy");
    check(
        "\u{1b}P1$r0m\u{1b}\\a\u{1b}_k\u{1b}\\b\u{1b}^p\u{1b}\\c\u{1b}Xs\u{1b}\\d",
        "abcd",
    );
}

#[test]
fn a_sequence_that_never_ends_takes_its_line_only() {
    check("a\u{1b}]0;never\nb", "a\nb");
    check("a\u{1b}Pnever\nb", "a\nb");
    check("a\u{1b}[12;\nb", "a\nb");
    check("a\u{1b}\nb\u{1b}", "a\nb");
    check("a\u{1b}[12é", "aé");
}

#[test]
fn a_broken_string_ends_where_a_terminal_ends_it() {
    check("\u{1b}]0;t\u{18}x", "x");
    check("\u{1b}]0;t\u{1b}[31mx", "x");
}

#[test]
fn other_control_characters_vanish() {
    check("a\0b\u{7}c\u{7f}d\u{85}e\u{e}f", "abcdef");
    check("a\u{c}b\u{b}c\u{2028}d", "a\nb\nc\nd");
}

#[test]
fn tabs_go_to_the_next_stop() {
    check("\ta\tb", "        a       b");
    check("世\tb", "世      b");
    check("abc\n\tx", "abc\n        x");
}

#[test]
fn a_carriage_return_overwrites_as_in_a_terminal() {
    check("10%\r50%\r100%\n", "100%\n");
    check("abcdef\rxy", "xycdef");
    check("a\r\nb\r\r\nc\r", "a\nb\nc");
    check("12 of 20\r\u{1b}[Kdone", "done");
    check("12 of 20\r\u{1b}[2Kdone", "done");
    check("世界\rab", "ab界");
    check("世界\ra", "a 界");
    check("abc\tx\r\ty", "abc     y");
}

#[test]
fn a_backspace_goes_one_column_back() {
    check("ab\u{8}c", "ac");
    check("_\u{8}x_\u{8}y", "xy");
    check("\u{8}\u{8}a", "a");
    check("ab\ncd\u{8}\u{8}\u{8}x", "ab\nxd");
}

#[test]
fn what_reorders_or_hides_text_vanishes() {
    check("a\u{202e}b\u{2066}c\u{200f}d\u{61c}e", "abcde");
    check("a\u{200b}b\u{feff}c\u{ad}d\u{2060}e\u{3164}f", "abcdef");
    check("a\u{e0041}\u{e007f}b", "ab");
}

#[test]
fn joiners_stay_where_they_join_and_nowhere_else() {
    check("👩\u{200d}👩\u{200d}👧", "👩\u{200d}👩\u{200d}👧");
    check("نمی\u{200c}خواهم", "نمی\u{200c}خواهم");
    check("ad\u{200d}min", "admin");
    check("\u{200d}x👩\u{200d}", "x👩");
    check("世\u{200d}x 世\u{200c} ", "世x 世 ");
}

#[test]
fn a_pile_of_marks_is_cut() {
    let pile = format!("a{}b", "\u{301}".repeat(1000));
    assert_eq!(sanitize(&pile).chars().count(), ZERO_WIDTH_RUN_MAX + 2);
}

#[test]
fn a_megabyte_of_the_worst_lines_takes_linear_time() {
    // A quadratic pass over any of these would run for minutes.
    for piece in [
        "\r",
        "a\r",
        "\u{8}",
        "a\u{8}",
        "\u{1b}",
        "\u{1b}[",
        "\u{1b}]",
        "\u{9d}",
        "\u{200d}",
        "世\r",
        "\t\r",
        "\u{1b}[1K",
        "e\u{301}\r",
    ] {
        let text = piece.repeat(1_000_000 / piece.len());
        let clean = sanitize(&text);
        assert!(clean.len() <= text.len() * TAB_WIDTH, "{piece:?}");
    }
}

/// Text as a hostile or merely noisy program would write it.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("\u{1b}".to_owned()),
        Just("\u{1b}[".to_owned()),
        Just("\u{1b}]0;t".to_owned()),
        Just("\u{1b}[?25l".to_owned()),
        Just("\u{1b}[2J".to_owned()),
        Just("\u{1b}[K".to_owned()),
        Just("\u{1b}[1K".to_owned()),
        Just("\u{1b}[2K".to_owned()),
        Just("\u{1b}P".to_owned()),
        Just("\u{1b}\\".to_owned()),
        Just("\u{9b}".to_owned()),
        Just("\u{9d}".to_owned()),
        Just("\u{9c}".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\u{8}".to_owned()),
        Just("\t".to_owned()),
        Just("\u{7}".to_owned()),
        Just("\u{7f}".to_owned()),
        Just("\u{202e}".to_owned()),
        Just("\u{200d}".to_owned()),
        Just("\u{200c}".to_owned()),
        Just("\u{301}".to_owned()),
        Just("\u{fe0f}".to_owned()),
        Just("👩".to_owned()),
        Just("世".to_owned()),
        Just("\u{1100}\u{1161}".to_owned()),
        "[ -~]{0,6}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_but_line_breaks_controls(text in hostile()) {
        let clean = sanitize(&text);
        prop_assert!(clean.chars().all(|c| c == '\n' || (!c.is_control() && !is_format(c) && !is_separator(c))), "{clean:?}");
    }

    #[test]
    fn sanitizing_twice_changes_nothing_more(text in hostile()) {
        let once = sanitize(&text);
        prop_assert_eq!(sanitize(&once), once.as_ref());
    }

    #[test]
    fn printable_ascii_and_letters_stay(text in "[ -~äöü世界\n]{0,200}") {
        prop_assert_eq!(sanitize(&text), text.as_str());
    }

    #[test]
    fn each_line_is_sanitized_alone(lines in prop::collection::vec(hostile(), 1..4)) {
        let lines: Vec<String> = lines.iter().map(|line| line.replace('\n', "")).collect();
        let alone: Vec<_> = lines.iter().map(|line| sanitize(line).into_owned()).collect();
        prop_assert_eq!(sanitize(&lines.join("\n")).into_owned(), alone.join("\n"));
    }

    #[test]
    fn a_terminal_that_is_fed_the_result_only_prints(text in hostile()) {
        let clean = sanitize(&text);
        let did = besides_printing(clean.split('\n'));
        prop_assert_eq!(did, Vec::<String>::new());
    }
}

#[test]
fn the_terminal_of_these_tests_notices_what_is_not_printing() {
    for text in [
        "\u{7}",
        "\u{1b}]0;t\u{7}",
        "\u{1b}[?25l",
        "\u{1b}[?1049h",
        "\u{1b}[31m",
        "a\r",
        "\u{1b}[2;2H",
        "\u{1b}c",
        "\u{9b}5n",
    ] {
        assert_ne!(besides_printing([text]), Vec::<String>::new(), "{text:?}");
    }
}
