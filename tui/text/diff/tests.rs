//! Diffs at several widths, and numbers that must be right.

use codex_protocol::v2::{FileUpdate, WholeFile};

use super::*;
use crate::text::testing::{WIDTHS, plain, styled};

const HUNKS: &str = "@@ -8,4 +8,5 @@ fn main() {\n     let a = 1;\n-    let b = 2;\n+    let b = 3;\n+    let c = 4;\n \n-// 日本語のコメント\n+// 日本語\n@@ -40 +41 @@\n---- a/dashes\n+++ b/pluses\n\\ No newline at end of file\n";

fn change(kind: PatchChangeKind, diff: &str) -> FileUpdateChange {
    FileUpdateChange {
        path: "/srv/app/src/main.rs".to_owned(),
        kind,
        diff: diff.to_owned(),
    }
}

fn update() -> FileUpdateChange {
    change(PatchChangeKind::Update(FileUpdate::default()), HUNKS)
}

fn draw(change: &FileUpdateChange, width: u16, fold: Fold) -> String {
    plain(&body(
        change,
        Options {
            width,
            theme: &Theme::plain(),
            fold,
        },
    ))
}

#[test]
fn hunks_have_numbers_and_marks_at_every_width() {
    for width in WIDTHS {
        insta::assert_snapshot!(format!("hunks_{width}"), draw(&update(), width, Fold::ALL));
    }
    let theme = Theme::ansi();
    let lines = body(
        &update(),
        Options {
            width: 40,
            theme: &theme,
            fold: Fold::ALL,
        },
    );
    insta::assert_snapshot!("hunks_styled", styled(&lines));
}

#[test]
fn content_that_looks_like_a_header_is_counted_as_content() {
    assert_eq!(counts(&update()), Counts { added: 4, removed: 3 });
}

#[test]
fn whole_files_are_raw_content() {
    let text = "+plus\n-minus\n\nlast\n";
    let added = change(PatchChangeKind::Add(WholeFile {}), text);
    assert_eq!(counts(&added), Counts { added: 4, removed: 0 });
    assert_eq!(
        draw(&added, 40, Fold::ALL),
        "1 + +plus\n2 + -minus\n3 +·\n4 + last\n"
    );
    let deleted = change(PatchChangeKind::Delete(WholeFile {}), text);
    assert_eq!(counts(&deleted), Counts { added: 0, removed: 4 });
    assert_eq!(
        draw(&deleted, 40, Fold::ALL),
        "1 - +plus\n2 - -minus\n3 -·\n4 - last\n"
    );
}

#[test]
fn a_folded_diff_counts_what_is_hidden_and_keeps_its_numbers() {
    let text: String = (1..=200).map(|number| format!("line {number}\n")).collect();
    let added = change(PatchChangeKind::Add(WholeFile {}), &text);
    let folded = draw(&added, 40, Fold { head: 2, tail: 2 });
    assert_eq!(
        folded,
        "  1 + line 1\n  2 + line 2\n… 196 more lines\n199 + line 199\n200 + line 200\n"
    );
    let hunk: String = (1..=99).map(|number| format!("+line {number}\n")).collect();
    let update = change(
        PatchChangeKind::Update(FileUpdate::default()),
        &format!("@@ -0,0 +1,99 @@\n{hunk}"),
    );
    let folded = draw(&update, 40, Fold { head: 2, tail: 1 });
    assert_eq!(
        folded,
        "@@ -0,0 +1,99 @@\n  1 + line 1\n… 97 more lines\n 99 + line 99\n"
    );
}

#[test]
fn a_summary_names_what_happened_to_the_file() {
    let text = |change: &FileUpdateChange| plain(&[Line::from(summary(change, &Theme::plain()))]);
    assert_eq!(text(&update()), "M /srv/app/src/main.rs (+4 −3)\n");
    let moved = PatchChangeKind::Update(FileUpdate {
        move_path: Some("/srv/app/src/cli.rs".to_owned()),
    });
    assert_eq!(
        text(&change(moved, "")),
        "R /srv/app/src/main.rs → /srv/app/src/cli.rs (+0 −0)\n"
    );
    let mut hostile = change(PatchChangeKind::Add(WholeFile {}), "a");
    hostile.path = "evil\u{1b}]0;t\u{7}\nname".to_owned();
    assert_eq!(text(&hostile), "A evil name (+1 −0)\n");
}

#[test]
fn a_diff_of_several_files_shows_their_headers() {
    let diff =
        format!("diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n{HUNKS}diff --git a/y b/y\n");
    let lines = unified(
        &diff,
        Options {
            width: 60,
            theme: &Theme::plain(),
            fold: Fold::ALL,
        },
    );
    insta::assert_snapshot!("unified", plain(&lines));
}

#[test]
fn lines_outside_of_a_numbered_hunk_have_no_number() {
    let bare = change(
        PatchChangeKind::Update(FileUpdate::default()),
        "@@\n-old\n+new\nwhat is this\n",
    );
    assert_eq!(draw(&bare, 40, Fold::ALL), "@@\n  - old\n  + new\nwhat is this\n");
}
