//! The recorded conversations are whole and hold nothing of the machine they were recorded on.

use std::fs;

use serde_json::Value;

#[test]
fn every_line_of_a_recording_is_one_message_in_one_direction() {
    let folder = codex_testkit::repository().join("fixtures/wire");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    assert!(files.len() >= 18, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (index, line) in text.lines().enumerate() {
            let place = format!("{}:{}", file.display(), index + 1);
            let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(matches!(entry["dir"].as_str(), Some("->" | "<-")), "{place}");
            assert!(entry["msg"].is_object(), "{place}");
            for foreign in ["/tmp/", "/var/tmp/", "/root/"] {
                assert!(!line.contains(foreign), "{place} holds a path of {foreign}");
            }
        }
    }
}
