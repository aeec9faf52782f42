//! The user's own editor for a long prompt.

use std::{
    fs, io,
    io::Write,
    process::{Command, Stdio},
};

/// Longer text is not a prompt: the editor was probably given another file.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Opens `editor` on a private file with this text and waits for its end. `None` when the editor failed
/// or changed nothing.
///
/// `editor` is a command line for `sh`, as `$VISUAL` and `$EDITOR` are by convention (`code --wait`).
pub(crate) fn edit(editor: &str, text: &str) -> io::Result<Option<String>> {
    let mut file = tempfile::Builder::new()
        .prefix("prompt-")
        .suffix(".md")
        .tempfile()?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file.path())
        .stdin(Stdio::inherit())
        .status()?;
    // Many editors write a new file and rename it: it is read by name.
    if !status.success() || fs::metadata(file.path())?.len() > TEXT_BYTES_MAX {
        return Ok(None);
    }
    let bytes = fs::read(file.path())?;
    let edited = String::from_utf8_lossy(&bytes);
    let edited = edited.strip_suffix('\n').unwrap_or(&edited);
    Ok((edited != text).then(|| edited.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_text_comes_back_without_the_last_newline() {
        let edited = edit("printf 'more\\n' >>", "text ").unwrap();
        assert_eq!(edited.as_deref(), Some("text more"));
    }

    #[test]
    fn an_editor_that_fails_or_changes_nothing_gives_nothing() {
        assert_eq!(edit("false", "text").unwrap(), None);
        assert_eq!(edit("true", "text").unwrap(), None);
        assert_eq!(edit("exit 127;", "text").unwrap(), None);
    }
}
