//! Opens what the configuration names.

use std::{fs::File, io, os::unix::fs::FileTypeExt, path::Path};

/// Opens a file to read it. A pipe is refused: to open one waits for a writer, for as long as it takes, and what was
/// read once is gone, while these files are read again for every connection.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other(
            "it is a pipe, and no file that can be read again",
        ));
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command};

    use super::open;

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let refused = open(&pipe).unwrap_err();
        assert!(refused.to_string().contains("it is a pipe"), "{refused}");
        open(Path::new("/dev/null")).unwrap();
    }
}
