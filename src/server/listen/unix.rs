//! WebSockets over a Unix socket that belongs to this user alone.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::{ListenError, accept::serve_each};
use crate::{private, server::Server};

pub(super) struct Unix {
    listener: UnixListener,
    path: PathBuf,
    /// Which file we made: another server's is not ours to remove.
    identity: (u64, u64),
}

/// Binds a socket of mode 0600 in a directory that no other user can enter. A socket that nobody listens at
/// is replaced.
pub(super) async fn bind(path: PathBuf) -> Result<Unix, ListenError> {
    let failed = |source| ListenError::Io {
        address: format!("unix://{}", path.display()),
        source,
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    private::directory(directory).map_err(failed)?;
    let metadata = fs::metadata(directory).map_err(failed)?;
    let uid = rustix::process::geteuid().as_raw();
    if metadata.uid() != uid || metadata.mode() & 0o077 != 0 {
        return Err(ListenError::NotPrivate(directory.to_owned()));
    }
    match fs::symlink_metadata(&path) {
        Ok(it) if !it.file_type().is_socket() => return Err(ListenError::NotASocket(path)),
        Ok(_) if UnixStream::connect(&path).await.is_ok() => return Err(ListenError::InUse(path)),
        Ok(_) => fs::remove_file(&path).map_err(failed)?,
        Err(_) => (),
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let metadata = fs::symlink_metadata(&path).map_err(failed)?;
    let identity = (metadata.dev(), metadata.ino());
    Ok(Unix {
        listener,
        path,
        identity,
    })
}

impl Unix {
    pub(super) fn banner(&self) -> String {
        format!(
            "codex app-server (WebSockets)\n  listening on: unix://{}",
            self.path.display()
        )
    }

    pub(super) async fn run(self, server: Server, cancel: CancellationToken) {
        let listener = &self.listener;
        let accept = || async move {
            let (stream, _) = listener.accept().await?;
            if !is_ours(&stream) {
                tracing::warn!("a connection of another user was refused");
                return Ok(None);
            }
            Ok(Some(stream))
        };
        serve_each(accept, server, cancel).await;
    }
}

impl Drop for Unix {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|it| (it.dev(), it.ino()) == self.identity);
        if ours {
            // Somebody may have been faster.
            _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the peer runs as this user, or as root, who could do everything anyway.
fn is_ours(stream: &UnixStream) -> bool {
    let uid = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|it| it.uid() == uid || it.uid() == 0)
}
