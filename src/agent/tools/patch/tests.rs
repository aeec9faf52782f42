//! Patches as models write them, and what becomes of the files.

use proptest::prelude::*;

use super::*;

/// Files in memory; writing the one at `broken` fails.
#[derive(Default, Clone, PartialEq, Debug)]
struct Memory {
    files: BTreeMap<PathBuf, String>,
    broken: Option<PathBuf>,
}

impl Files for Memory {
    fn read(&mut self, path: &Path) -> io::Result<Option<String>> {
        Ok(self.files.get(path).cloned())
    }
    fn write(&mut self, path: &Path, content: &str) -> io::Result<()> {
        if self.broken.as_deref() == Some(path) {
            return Err(io::Error::other("the disk is full"));
        }
        self.files.insert(path.to_owned(), content.to_owned());
        Ok(())
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.files
            .remove(path)
            .map(|_| ())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn memory(files: &[(&str, &str)]) -> Memory {
    let files = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
        .collect();
    Memory { files, broken: None }
}

fn patched(files: &[(&str, &str)], body: &str) -> Result<Vec<(String, String)>, String> {
    let mut memory = memory(files);
    let text = format!("*** Begin Patch\n{body}\n*** End Patch\n");
    let plan = plan(&text, Path::new("/w"), &mut memory).map_err(|error| error.to_string())?;
    apply(&plan, &mut memory).map_err(|error| error.to_string())?;
    Ok(memory
        .files
        .into_iter()
        .map(|(path, text)| (path.to_string_lossy().into_owned(), text))
        .collect())
}

/// The file `/w/f` after an update.
fn update(before: &str, sections: &str) -> Result<String, String> {
    let files = patched(&[("/w/f", before)], &format!("*** Update File: f\n{sections}"))?;
    Ok(files[0].1.clone())
}

fn pair(path: &str, text: &str) -> (String, String) {
    (path.to_owned(), text.to_owned())
}

#[test]
fn files_are_added_deleted_updated_and_moved() {
    let body = "*** Add File: new/a\n+one\n+\n+two\n*** Delete File: old\n*** Update File: b\n*** Move to: c\n@@\n x\n-y\n+z\n*** Add File: /abs\n+q";
    let is = patched(&[("/w/old", "gone\n"), ("/w/b", "x\ny\n")], body).unwrap();
    assert_eq!(
        is,
        [
            pair("/abs", "q\n"),
            pair("/w/c", "x\nz\n"),
            pair("/w/new/a", "one\n\ntwo\n")
        ]
    );
}

#[test]
fn one_patch_can_touch_a_file_twice() {
    let body = "*** Add File: a\n+one\n*** Update File: a\n@@\n-one\n+two\n*** Update File: ./x/../a\n@@\n two\n+three";
    assert_eq!(patched(&[], body).unwrap(), [pair("/w/a", "two\nthree\n")]);
}

#[test]
fn places_are_found_by_context_and_anchors() {
    let file = "fn a() {\n    one();\n}\nfn b() {\n    one();\n}\n";
    let second = "fn a() {\n    one();\n}\nfn b() {\n    two();\n}\n";
    assert_eq!(
        update(file, "@@ fn b() {\n-    one();\n+    two();").unwrap(),
        second
    );
    assert_eq!(
        update(file, "@@ fn b() {\n fn b() {\n-    one();\n+    two();").unwrap(),
        second
    );
    assert_eq!(
        update(file, "@@\n-    one();\n+    two();\n }\n fn b() {").unwrap(),
        file.replacen("one", "two", 1)
    );
    assert_eq!(
        update(file, "@@ -4,3 +4,3 @@\n }\n-fn b() {\n+fn c() {").unwrap(),
        file.replace("fn b", "fn c")
    );
    assert_eq!(
        update("a\nx\na\n", "-a\n+b\n*** End of File").unwrap(),
        "a\nx\nb\n"
    );
    assert_eq!(update("a\nb\n", "@@ a\n+new").unwrap(), "a\nnew\nb\n");
    assert_eq!(update("a\nb\n", "+new").unwrap(), "a\nb\nnew\n");
    assert_eq!(update("a\n\nb\n", "@@\n a\n\n-b\n+c").unwrap(), "a\n\nc\n");
}

#[test]
fn blanks_at_the_ends_of_lines_are_forgiven_but_kept() {
    assert_eq!(update("  a  \nb\n", "@@\n a\n-b\n+c").unwrap(), "  a  \nc\n");
    assert_eq!(update("a\r\nb\r\n", "@@\n a\n-b\n+c").unwrap(), "a\r\nc\r\n");
    assert_eq!(update("a\nb", "@@\n-b\n+c").unwrap(), "a\nc");
    assert_eq!(
        update(" a\na\n", "@@\n-a\n+b").unwrap(),
        " a\nb\n",
        "the exact line comes first"
    );
}

#[test]
fn what_does_not_fit_changes_nothing_and_says_why() {
    let files = [("/w/f", "a\nb\n"), ("/w/g", "x\n")];
    for (body, reason) in [
        ("*** Update File: f\n@@\n-c\n+d", "no such lines"),
        ("*** Update File: f\n@@ nowhere\n-a\n+d", "nowhere"),
        ("*** Update File: f\n@@\n-b\n+1\n@@\n-a\n+2", "no such lines"),
        ("*** Update File: none\n@@\n-c\n+d", "no file /w/none"),
        ("*** Delete File: none", "no file /w/none"),
        ("*** Update File: f\n*** Move to: g\n@@\n-a\n+d", "exists already"),
        ("*** Update File: f", "changes nothing"),
        ("*** Update File: f\n@@\n a", "neither removes nor adds"),
        ("*** Update File: f\n@@\n-a\nxx", "line 5"),
        ("*** Add File:\n+x", "path is missing"),
        ("hello", "was expected"),
        ("", "changes nothing"),
    ] {
        let error = patched(&files, body).unwrap_err();
        assert!(error.contains(reason), "{body:?}: {error}");
    }
    assert!(parse("hello").is_err() && parse("*** Begin Patch\n*** Delete File: a\n").is_err());
    assert!(parse("*** Begin Patch\n*** Delete File: a\n*** End Patch\nrm -rf /").is_err());
    assert!(parse("\n  *** Begin Patch\r\n*** Delete File: a\r\n*** End Patch  \n\n").is_ok());
}

#[test]
fn a_patch_that_cannot_be_written_is_undone() {
    let body = "*** Begin Patch\n*** Add File: a\n+new\n*** Delete File: b\n*** Update File: c\n@@\n-1\n+2\n*** End Patch";
    let before = memory(&[("/w/b", "b\n"), ("/w/c", "1\n")]);
    let mut files = Memory {
        broken: Some("/w/c".into()),
        ..before.clone()
    };
    let plan = plan(body, Path::new("/w"), &mut files).unwrap();
    let error = apply(&plan, &mut files).unwrap_err();
    assert!(
        matches!(&error, PatchError::Write { .. }) && error.to_string().contains("disk is full"),
        "{error}"
    );
    assert_eq!(files.files, before.files);
    files.broken = None;
    files.files.insert("/w/c".into(), "changed meanwhile\n".into());
    assert!(matches!(apply(&plan, &mut files), Err(PatchError::Changed(_))));
}

#[test]
fn changes_are_shown_as_the_protocol_wants_them() {
    let body = "*** Begin Patch\n*** Add File: a\n+new\n*** Delete File: b\n*** Update File: c\n*** Move to: d\n@@\n-2\n+two\n*** End Patch";
    let mut files = memory(&[("/w/b", "b\n"), ("/w/c", "1\n2\n3\n")]);
    let changes = plan(body, Path::new("/w"), &mut files).unwrap().changes;
    assert_eq!(
        (changes[0].path.as_str(), changes[0].diff.as_str()),
        ("/w/a", "new\n")
    );
    assert_eq!(
        (changes[1].kind.tag(), changes[1].diff.as_str()),
        ("delete", "b\n")
    );
    assert_eq!(changes[2].diff, "@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n");
    let moved = PatchChangeKind::Update(FileUpdate {
        move_path: Some("/w/d".into()),
    });
    assert_eq!(changes[2].kind, moved);
}

#[test]
fn the_disk_keeps_permissions_follows_links_and_leaves_nothing_behind() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    std::fs::write(at("script"), "old\n").unwrap();
    std::fs::set_permissions(at("script"), std::fs::Permissions::from_mode(0o751)).unwrap();
    symlink(at("script"), at("link")).unwrap();
    let mut disk = Disk::default();
    disk.write(&at("link"), "new\n").unwrap();
    assert!(at("link").symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(at("script")).unwrap(), "new\n");
    assert_eq!(
        at("script").metadata().unwrap().permissions().mode() & 0o777,
        0o751
    );
    disk.write(&at("x/y/z"), "deep").unwrap();
    assert_eq!(disk.read(&at("x/y/z")).unwrap().as_deref(), Some("deep"));
    disk.remove(&at("x/y/z")).unwrap();
    assert!(!at("x").exists(), "folders made for a file go with it");
    assert_eq!(disk.read(&at("none")).unwrap(), None);
    assert!(disk.read(root.path()).is_err());
    std::fs::write(at("binary"), [0xff, 0xfe]).unwrap();
    assert!(disk.read(&at("binary")).is_err());
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 3);
}

/// A patch of `/w/f` that makes `after` of `before`, with this many lines of context.
fn written(before: &str, after: &str, context: usize) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    let mut text = "*** Begin Patch\n*** Update File: f\n".to_owned();
    for hunk in diff.unified_diff().context_radius(context).iter_hunks() {
        text.push_str("@@\n");
        for change in hunk.iter_changes() {
            text.push_str(&format!("{}{}", change.tag(), change.value()));
        }
    }
    text + "*** End Patch\n"
}

proptest! {
    #[test]
    fn a_patch_made_of_a_difference_makes_the_difference(
        keep in proptest::collection::vec(0u8..4, 1..30),
        context in 1usize..4,
    ) {
        // Lines that occur once, of which some go, some change and some get a neighbour.
        let before: String = (0..keep.len()).map(|number| format!("line {number}\n")).collect();
        let line = |(number, what): (usize, &u8)| match what {
            0 => String::new(),
            1 => format!("changed {number}\n"),
            2 => format!("line {number}\nnew {number}\n"),
            _ => format!("line {number}\n"),
        };
        let after: String = keep.iter().enumerate().map(line).collect();
        prop_assume!(before != after);
        let mut files = memory(&[("/w/f", &before)]);
        let plan = plan(&written(&before, &after, context), Path::new("/w"), &mut files).unwrap();
        apply(&plan, &mut files).unwrap();
        prop_assert_eq!(&files.files[Path::new("/w/f")], &after);
    }

    #[test]
    fn no_text_causes_a_panic(
        lines in proptest::collection::vec(
            "(\\*\\*\\* (Begin Patch|End Patch|Add File: a|Update File: f|Delete File: f|Move to: g|End of File)|@@ ?[ab]?|[-+ ]?[abé]{0,2}|.{0,8})", 0..15),
        begun in any::<bool>(),
    ) {
        let begin = if begun { "*** Begin Patch\n*** Update File: f\n" } else { "" };
        let end = if begun { "\n*** End Patch" } else { "" };
        let text = format!("{begin}{}{end}", lines.join("\n"));
        let mut files = memory(&[("/w/f", "a\nb\n\naé\nb")]);
        if let Ok(plan) = plan(&text, Path::new("/w"), &mut files) {
            apply(&plan, &mut files).unwrap();
        }
    }
}
