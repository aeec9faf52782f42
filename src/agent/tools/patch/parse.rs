//! The text of a patch, read into changes. Small liberties that models take are allowed.

/// A patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub changes: Vec<Change>,
}

/// What a patch does to one file; paths as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Add {
        path: String,
        content: String,
    },
    Delete {
        path: String,
    },
    Update {
        path: String,
        move_to: Option<String>,
        sections: Vec<Section>,
    },
}

impl Change {
    /// The file's path before the patch.
    pub fn path(&self) -> &str {
        match self {
            Change::Add { path, .. } | Change::Delete { path } | Change::Update { path, .. } => path,
        }
    }
}

/// One place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Lines that come before the place, each after the one before it.
    pub anchors: Vec<String>,
    pub lines: Vec<Line>,
    /// The place is the end of the file.
    pub at_end: bool,
}

/// One line of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Keep(String),
    Remove(String),
    Add(String),
}

/// Where the text is no patch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// From 1.
    pub line: usize,
    pub problem: String,
}

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";
const ADD: &str = "*** Add File:";
const DELETE: &str = "*** Delete File:";
const UPDATE: &str = "*** Update File:";
const MOVE: &str = "*** Move to:";
const END_OF_FILE: &str = "*** End of File";

/// Reads a patch. Text before its first and after its last line must be blank.
pub fn parse(text: &str) -> Result<Patch, SyntaxError> {
    let mut reader = Reader {
        lines: text.lines().collect(),
        at: 0,
    };
    while reader.peek().is_some_and(|line| line.trim().is_empty()) {
        reader.at += 1;
    }
    if reader.next().map(str::trim) != Some(BEGIN) {
        return Err(reader.error(&format!("a patch begins with `{BEGIN}`")));
    }
    let mut changes = Vec::new();
    loop {
        let Some(line) = reader.next() else {
            return Err(reader.error(&format!("a patch ends with `{END}`")));
        };
        let line = line.trim();
        if line == END {
            break;
        }
        changes.push(if let Some(path) = line.strip_prefix(ADD) {
            Change::Add {
                path: reader.path(path)?,
                content: reader.content(),
            }
        } else if let Some(path) = line.strip_prefix(DELETE) {
            Change::Delete {
                path: reader.path(path)?,
            }
        } else if let Some(path) = line.strip_prefix(UPDATE) {
            reader.update(path)?
        } else if line.is_empty() {
            continue;
        } else {
            return Err(reader.error(&format!(
                "`{ADD}`, `{DELETE}`, `{UPDATE}` or `{END}` was expected"
            )));
        });
    }
    if changes.is_empty() {
        return Err(reader.error("the patch changes nothing"));
    }
    match reader.lines[reader.at..]
        .iter()
        .position(|line| !line.trim().is_empty())
    {
        None => Ok(Patch { changes }),
        Some(offset) => Err(SyntaxError {
            line: reader.at + offset + 1,
            problem: format!("there is text after `{END}`"),
        }),
    }
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    /// The index of the next line.
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        let line = self.peek()?;
        self.at += 1;
        Some(line)
    }

    /// An error on the line that was read last.
    fn error(&self, problem: &str) -> SyntaxError {
        SyntaxError {
            line: self.at.max(1),
            problem: problem.to_owned(),
        }
    }

    fn path(&self, path: &str) -> Result<String, SyntaxError> {
        match path.trim() {
            "" => Err(self.error("a path is missing")),
            path if path.contains('\0') => Err(self.error("a path holds a NUL character")),
            path => Ok(path.to_owned()),
        }
    }

    /// Lines that begin with `+`, each ended by a line feed.
    fn content(&mut self) -> String {
        let mut content = String::new();
        while let Some(line) = self.peek().and_then(|line| line.strip_prefix('+')) {
            content.push_str(line);
            content.push('\n');
            self.at += 1;
        }
        content
    }

    fn update(&mut self, path: &str) -> Result<Change, SyntaxError> {
        let path = self.path(path)?;
        let move_to = match self.peek().and_then(|line| line.trim().strip_prefix(MOVE)) {
            Some(target) => {
                self.at += 1;
                Some(self.path(target)?)
            }
            None => None,
        };
        let mut sections = Vec::new();
        while let Some(section) = self.section()? {
            sections.push(section);
        }
        if sections.is_empty() && move_to.is_none() {
            return Err(self.error(&format!("the update of {path} changes nothing")));
        }
        Ok(Change::Update {
            path,
            move_to,
            sections,
        })
    }

    fn section(&mut self) -> Result<Option<Section>, SyntaxError> {
        let mut section = Section::default();
        while let Some(anchor) = self.peek().and_then(|line| line.strip_prefix("@@")) {
            self.at += 1;
            let anchor = anchor.trim();
            if !anchor.is_empty() && !is_range(anchor) {
                section.anchors.push(anchor.to_owned());
            }
        }
        while let Some(line) = self.peek() {
            if line.trim_end() == END_OF_FILE {
                section.at_end = true;
                self.at += 1;
                break;
            }
            let line = match line.chars().next() {
                _ if line.starts_with("***") || line.starts_with("@@") => break,
                Some(' ') => Line::Keep(line[1..].to_owned()),
                Some('-') => Line::Remove(line[1..].to_owned()),
                Some('+') => Line::Add(line[1..].to_owned()),
                // Editors and models strip the blank that marks an empty line.
                None => Line::Keep(String::new()),
                Some(_) => {
                    self.at += 1;
                    return Err(self.error("a line of an update begins with ` `, `-` or `+`"));
                }
            };
            section.lines.push(line);
            self.at += 1;
        }
        // Blank lines between two changes belong to neither.
        if section.anchors.is_empty()
            && section
                .lines
                .iter()
                .all(|line| *line == Line::Keep(String::new()))
        {
            return Ok(None);
        }
        if self.peek().is_some_and(|line| line.starts_with("***")) && !section.at_end {
            while section.lines.len() > 1 && section.lines.last() == Some(&Line::Keep(String::new())) {
                section.lines.pop();
            }
        }
        if !section.lines.iter().any(|line| !matches!(line, Line::Keep(_))) {
            return Err(self.error("a section of an update neither removes nor adds a line"));
        }
        Ok(Some(section))
    }
}

/// Whether it is the `-1,3 +1,3 @@` of an ordinary diff, which says nothing here: models count badly.
fn is_range(anchor: &str) -> bool {
    let anchor = anchor.trim_end_matches('@').trim();
    anchor.starts_with('-')
        && anchor.contains('+')
        && anchor
            .chars()
            .all(|it| "-+, ".contains(it) || it.is_ascii_digit())
}
