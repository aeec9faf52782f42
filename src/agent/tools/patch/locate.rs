//! Finds the places of an update in a file: exactly, else without trailing blanks, else without any at the ends.

use std::path::Path;

use super::PatchError;
use super::parse::{Line, Section};

/// Lines that are not in the file.
#[derive(Debug)]
pub(super) struct Missing {
    lines: String,
    after: Option<String>,
}

impl Missing {
    pub(super) fn in_file(self, path: &Path) -> PatchError {
        let after = self
            .after
            .map_or_else(String::new, |line| format!(" after `{line}`"));
        PatchError::NotFound {
            path: path.to_owned(),
            after,
            lines: self.lines,
        }
    }
}

/// The text after all sections, which come in the order of the file. Lines that stay keep the file's own spelling.
pub(super) fn updated(before: &str, sections: &[Section]) -> Result<String, Missing> {
    let text = Text::split(before);
    let mut after: Vec<String> = Vec::with_capacity(text.lines.len());
    let mut cursor = 0;
    for section in sections {
        let place = find(&text.lines, cursor, section)?;
        after.extend(text.lines[cursor..place].iter().map(|line| (*line).to_owned()));
        cursor = place;
        for line in &section.lines {
            match line {
                Line::Keep(_) => {
                    after.push(text.lines[cursor].to_owned());
                    cursor += 1;
                }
                Line::Remove(_) => cursor += 1,
                Line::Add(line) => after.push(text.spelled(line)),
            }
        }
    }
    after.extend(text.lines[cursor..].iter().map(|line| (*line).to_owned()));
    Ok(text.joined(&after))
}

/// A file in lines, with what is needed to put it together again.
struct Text<'a> {
    lines: Vec<&'a str>,
    ends_with_line_feed: bool,
    carriage_returns: bool,
}

impl<'a> Text<'a> {
    fn split(text: &'a str) -> Text<'a> {
        let mut lines: Vec<&str> = text.split('\n').collect();
        let ends_with_line_feed = text.is_empty() || text.ends_with('\n');
        if ends_with_line_feed {
            lines.pop();
        }
        let carriage_returns = lines.first().is_some_and(|line| line.ends_with('\r'));
        Text {
            lines,
            ends_with_line_feed,
            carriage_returns,
        }
    }

    fn spelled(&self, line: &str) -> String {
        if self.carriage_returns {
            format!("{line}\r")
        } else {
            line.to_owned()
        }
    }

    fn joined(&self, lines: &[String]) -> String {
        let mut text = lines.join("\n");
        if self.ends_with_line_feed && !lines.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// The index of the first line of the section, at or after `from`.
fn find(lines: &[&str], from: usize, section: &Section) -> Result<usize, Missing> {
    let mut start = from;
    for anchor in &section.anchors {
        let missing = || Missing {
            lines: anchor.clone(),
            after: None,
        };
        start = search(lines, start, &[anchor]).ok_or_else(missing)? + 1;
    }
    let wanted: Vec<&str> = section
        .lines
        .iter()
        .filter_map(|line| match line {
            Line::Keep(line) | Line::Remove(line) => Some(line.as_str()),
            Line::Add(_) => None,
        })
        .collect();
    if wanted.is_empty() {
        // Nothing but new lines: right after the anchor, else at the end.
        return Ok(if section.anchors.is_empty() || section.at_end {
            lines.len()
        } else {
            start
        });
    }
    let at_end = lines
        .len()
        .checked_sub(wanted.len())
        .filter(|end| section.at_end && *end >= start);
    at_end
        .filter(|end| search(&lines[*end..], 0, &wanted) == Some(0))
        .or_else(|| search(lines, start, &wanted))
        // An anchor may itself be the first line of the place.
        .or_else(|| {
            section
                .anchors
                .last()
                .and_then(|_| search(lines, start.saturating_sub(1).max(from), &wanted))
        })
        .ok_or_else(|| Missing {
            lines: wanted.join("\n"),
            after: section.anchors.last().cloned(),
        })
}

fn search(lines: &[&str], from: usize, wanted: &[impl AsRef<str>]) -> Option<usize> {
    let exact = |line: &str, wanted: &str| line == wanted;
    let trailing = |line: &str, wanted: &str| line.trim_end() == wanted.trim_end();
    let trimmed = |line: &str, wanted: &str| line.trim() == wanted.trim();
    let by = |same: &dyn Fn(&str, &str) -> bool| {
        let last = lines.len().checked_sub(wanted.len())?;
        (from..=last).find(|&at| {
            lines[at..]
                .iter()
                .zip(wanted)
                .all(|(line, wanted)| same(line, wanted.as_ref()))
        })
    };
    by(&exact).or_else(|| by(&trailing)).or_else(|| by(&trimmed))
}
