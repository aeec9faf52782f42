//! Files on this host.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{FILE_BYTES_MAX, Files};

/// The file system. A link is followed; a file keeps its permissions. Whether a path may be written is decided before.
#[derive(Debug, Default)]
pub struct Disk {
    /// Folders that were made for a file, so that they go again when the file does.
    made: Vec<PathBuf>,
}

impl Files for Disk {
    fn read(&mut self, path: &Path) -> io::Result<Option<String>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok(Some(text))
    }

    fn write(&mut self, path: &Path, content: &str) -> io::Result<()> {
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(_) => path.to_owned(),
        };
        let folder = target
            .parent()
            .ok_or_else(|| io::Error::other("a path without a folder"))?;
        self.make(folder)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        // Beside the file, as only a rename within one file system replaces it at once.
        let beside = folder.join(format!(".{name}.{}.patch", std::process::id()));
        let written = self.replace(&beside, &target, content);
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        // Only folders of our own making, and only while they are empty.
        while self
            .made
            .last()
            .is_some_and(|folder| fs::remove_dir(folder).is_ok())
        {
            self.made.pop();
        }
        Ok(())
    }
}

impl Disk {
    fn make(&mut self, folder: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = folder
            .ancestors()
            .take_while(|it| !it.as_os_str().is_empty() && !it.exists())
            .collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder)?;
            self.made.push(folder.to_owned());
        }
        Ok(())
    }

    fn replace(&self, beside: &Path, target: &Path, content: &str) -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(beside)?;
        file.write_all(content.as_bytes())?;
        if let Ok(metadata) = fs::metadata(target) {
            file.set_permissions(metadata.permissions())?;
        }
        file.sync_all()?;
        fs::rename(beside, target)
    }
}
