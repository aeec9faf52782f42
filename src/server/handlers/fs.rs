//! Files for clients: absolute paths, no sandbox; the client is the user.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use codex_protocol::v2::{
    Empty, FsCopyParams, FsCreateDirectoryParams, FsDirectoryEntry, FsGetMetadataParams,
    FsGetMetadataResponse, FsPathParams, FsReadDirectoryResponse, FsReadFileResponse, FsRemoveParams,
    FsWriteFileParams,
};

use crate::{
    refusal::Refusal,
    router::{Call, Router, Stability::*},
    scope::{Access::*, Scope},
};

/// The largest file that is read; it travels as one message.
const FILE_BYTES_MAX: u64 = 512 << 20;
/// Directories inside each other that are copied. Deeper ones are loops of mounts, or an attack on the stack.
const DEPTH_MAX: usize = 256;

pub(super) fn routes(router: &mut Router) {
    router.answer(
        "fs/readFile",
        Stable,
        |p: &FsPathParams| Scope::path(&p.path, Shared),
        read_file,
    );
    router.answer(
        "fs/writeFile",
        Stable,
        |p: &FsWriteFileParams| Scope::path(&p.path, Exclusive),
        write_file,
    );
    let create = |p: &FsCreateDirectoryParams| Scope::path(&p.path, Exclusive);
    router.answer("fs/createDirectory", Stable, create, create_directory);
    let look = |p: &FsGetMetadataParams| Scope::path(&p.path, Shared);
    router.answer("fs/getMetadata", Stable, look, get_metadata);
    router.answer(
        "fs/readDirectory",
        Stable,
        |p: &FsPathParams| Scope::path(&p.path, Shared),
        read_directory,
    );
    let copied = |p: &FsCopyParams| {
        Scope::path(&p.source_path, Shared).and(Scope::path(&p.destination_path, Exclusive))
    };
    router.answer("fs/copy", Stable, copied, copy);
    router.answer(
        "fs/remove",
        Stable,
        |p: &FsRemoveParams| Scope::path(&p.path, Exclusive),
        remove,
    );
}

/// The path as one of this server's. Absolute: a client does not know where the server runs.
pub(super) fn absolute(path: &str) -> Result<PathBuf, Refusal> {
    let path = PathBuf::from(path);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(Refusal::invalid(format!(
            "Invalid request: the path `{}` is not absolute",
            path.display()
        ))),
    }
}

async fn read_file(_: Call, params: FsPathParams) -> Result<FsReadFileResponse, Refusal> {
    let path = absolute(&params.path)?;
    super::blocking(move || {
        // Before it is opened: opening a FIFO waits for its writer.
        let metadata = fs::metadata(&path)?;
        if !metadata.is_file() {
            return Err(Refusal::invalid(format!(
                "path `{}` is not a file",
                path.display()
            )));
        }
        if FILE_BYTES_MAX < metadata.len() {
            return Err(Refusal::invalid(format!(
                "file is too large to read: limit is {FILE_BYTES_MAX} bytes"
            )));
        }
        let data_base64 = BASE64_STANDARD.encode(fs::read(&path)?);
        Ok(FsReadFileResponse { data_base64 })
    })
    .await
}

async fn write_file(_: Call, params: FsWriteFileParams) -> Result<Empty, Refusal> {
    let path = absolute(&params.path)?;
    super::blocking(move || {
        let decoded = BASE64_STANDARD.decode(params.data_base64);
        let content =
            decoded.map_err(|error| Refusal::invalid(format!("dataBase64 is not base64: {error}")))?;
        // In place: a link stays a link, and the file keeps its mode and owner.
        fs::write(path, content)?;
        Ok(Empty {})
    })
    .await
}

async fn create_directory(_: Call, params: FsCreateDirectoryParams) -> Result<Empty, Refusal> {
    let path = absolute(&params.path)?;
    super::blocking(move || {
        match params.recursive.unwrap_or(true) {
            true => fs::create_dir_all(path)?,
            false => fs::create_dir(path)?,
        }
        Ok(Empty {})
    })
    .await
}

async fn get_metadata(_: Call, params: FsGetMetadataParams) -> Result<FsGetMetadataResponse, Refusal> {
    let path = absolute(&params.path)?;
    super::blocking(move || {
        let itself = fs::symlink_metadata(&path)?;
        // A link that leads nowhere is there; it is neither file nor directory.
        let meant = if itself.is_symlink() {
            fs::metadata(&path).ok()
        } else {
            Some(itself.clone())
        };
        let time = |read: fn(&Metadata) -> io::Result<SystemTime>| {
            unix_millis(read(meant.as_ref().unwrap_or(&itself)))
        };
        Ok(FsGetMetadataResponse {
            is_directory: meant.as_ref().is_some_and(Metadata::is_dir),
            is_file: meant.as_ref().is_some_and(Metadata::is_file),
            is_symlink: itself.is_symlink(),
            created_at_ms: time(Metadata::created),
            modified_at_ms: time(Metadata::modified),
        })
    })
    .await
}

fn unix_millis(time: io::Result<SystemTime>) -> i64 {
    let Ok(time) = time else { return 0 };
    let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    }
}

async fn read_directory(_: Call, params: FsPathParams) -> Result<FsReadDirectoryResponse, Refusal> {
    let path = absolute(&params.path)?;
    super::blocking(move || {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let kind = fs::metadata(entry.path()).ok();
            entries.push(FsDirectoryEntry {
                file_name: entry.file_name().to_string_lossy().into_owned(),
                is_directory: kind.as_ref().is_some_and(Metadata::is_dir),
                is_file: kind.as_ref().is_some_and(Metadata::is_file),
            });
        }
        entries.sort_by(|one, other| one.file_name.cmp(&other.file_name));
        Ok(FsReadDirectoryResponse { entries })
    })
    .await
}

async fn copy(_: Call, params: FsCopyParams) -> Result<Empty, Refusal> {
    let (source, destination) = (
        absolute(&params.source_path)?,
        absolute(&params.destination_path)?,
    );
    super::blocking(move || {
        if !fs::metadata(&source)?.is_dir() {
            fs::copy(&source, &destination)?;
            return Ok(Empty {});
        }
        if !params.recursive {
            return Err(Refusal::invalid(format!(
                "`{}` is a directory; copy it with `recursive`",
                source.display()
            )));
        }
        if is_inside(&destination, &source)? {
            return Err(Refusal::invalid("a directory cannot be copied into itself"));
        }
        copy_directory(&source, &destination, DEPTH_MAX)?;
        Ok(Empty {})
    })
    .await
}

/// Whether `path`, which need not exist, would be `directory` or in it, links resolved.
fn is_inside(path: &Path, directory: &Path) -> io::Result<bool> {
    let directory = fs::canonicalize(directory)?;
    let existing = path.ancestors().find_map(|it| fs::canonicalize(it).ok());
    Ok(existing.is_some_and(|it| it.starts_with(directory)))
}

fn copy_directory(source: &Path, destination: &Path, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("the directory is too deep"));
    }
    fs::create_dir_all(destination)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let (from, to) = (entry.path(), destination.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_directory(&from, &to, depth - 1)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to)?;
        }
        // Sockets, FIFOs and devices have no content to copy.
    }
    Ok(())
}

async fn remove(_: Call, params: FsRemoveParams) -> Result<Empty, Refusal> {
    let path = absolute(&params.path)?;
    let (recursive, force) = (params.recursive.unwrap_or(true), params.force.unwrap_or(true));
    if path.parent().is_none() {
        return Err(Refusal::invalid("the root directory is not removed"));
    }
    super::blocking(move || {
        let removed = match fs::symlink_metadata(&path) {
            Ok(it) if it.is_dir() && recursive => fs::remove_dir_all(&path),
            Ok(it) if it.is_dir() => fs::remove_dir(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if force && error.kind() == io::ErrorKind::NotFound => Ok(Empty {}),
            other => other.map(|()| Empty {}).map_err(Refusal::from),
        }
    })
    .await
}
