//! `fs/watch`: changes of a file, or of a directory's entries, gathered for a moment and told together.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use codex_protocol::v2::{Empty, FsChanged, FsUnwatchParams, FsWatchParams, FsWatchResponse};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::Notify, task::JoinSet};

use super::fs::absolute;
use crate::{
    connection::Connection,
    notice::Notice,
    refusal::Refusal,
    router::{Call, Router, Stability::*},
    scope::Scope,
};

/// How long changes are gathered, as the official server does: one save is many events.
const GATHER: Duration = Duration::from_millis(200);
/// Paths in one notification. Beyond it the watched path itself stands for all of them.
const PATHS_MAX: usize = 4_096;
/// Watches of one connection. The kernel's own limit is shared with everybody.
const WATCHES_MAX: usize = 256;

pub(super) fn routes(router: &mut Router) {
    router.answer(
        "fs/watch",
        Stable,
        |p: &FsWatchParams| Scope::process(&p.watch_id),
        watch,
    );
    router.answer(
        "fs/unwatch",
        Stable,
        |p: &FsUnwatchParams| Scope::process(&p.watch_id),
        unwatch,
    );
}

/// The watches of one connection; dropped, they end.
#[derive(Default)]
pub(crate) struct Watches(BTreeMap<String, Watch>);

struct Watch {
    /// Watches as long as it exists.
    _watcher: RecommendedWatcher,
    /// Tells what was gathered.
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Gathered {
    paths: Mutex<BTreeSet<PathBuf>>,
    changed: Notify,
}

async fn watch(call: Call, params: FsWatchParams) -> Result<FsWatchResponse, Refusal> {
    let path = absolute(&params.path)?;
    let connection = call.connection.clone();
    let gathered = Arc::new(Gathered::default());
    let watcher = {
        let (path, gathered) = (path.clone(), Arc::clone(&gathered));
        super::blocking(move || start(&path, gathered)).await?
    };
    let mut task = JoinSet::new();
    task.spawn(tell(connection.clone(), params.watch_id.clone(), path, gathered));
    connection.with_watches(|Watches(watches)| {
        if watches.contains_key(&params.watch_id) {
            return Err(Refusal::invalid(format!(
                "watchId already exists: {}",
                params.watch_id
            )));
        }
        if WATCHES_MAX <= watches.len() {
            return Err(Refusal::invalid(format!(
                "more than {WATCHES_MAX} watches on one connection"
            )));
        }
        watches.insert(
            params.watch_id,
            Watch {
                _watcher: watcher,
                _task: task,
            },
        );
        Ok(())
    })?;
    Ok(FsWatchResponse { path: params.path })
}

async fn unwatch(call: Call, params: FsUnwatchParams) -> Result<Empty, Refusal> {
    let watch = call.connection.with_watches(|it| it.0.remove(&params.watch_id));
    // Outside of the lock: ending a watcher waits for its thread.
    drop(watch);
    Ok(Empty {})
}

fn start(path: &Path, gathered: Arc<Gathered>) -> Result<RecommendedWatcher, Refusal> {
    // A file is watched through its directory: editors replace files, and it may not exist yet.
    let is_directory = path.is_dir();
    let place = if is_directory {
        path
    } else {
        path.parent().unwrap_or(path)
    };
    let subject = (!is_directory).then(|| path.to_owned());
    let found = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if matches!(event.kind, EventKind::Access(_)) {
            return;
        }
        let concerns = |it: &PathBuf| subject.as_ref().is_none_or(|subject| it == subject);
        let mut paths = gathered.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.extend(event.paths.into_iter().filter(concerns).take(PATHS_MAX));
        if !paths.is_empty() {
            gathered.changed.notify_one();
        }
    };
    let refused = |error: notify::Error| Refusal::failed(format!("watching `{}`: {error}", place.display()));
    let mut watcher = notify::recommended_watcher(found).map_err(refused)?;
    watcher
        .watch(place, RecursiveMode::NonRecursive)
        .map_err(refused)?;
    Ok(watcher)
}

async fn tell(connection: Connection, watch_id: String, path: PathBuf, gathered: Arc<Gathered>) {
    loop {
        gathered.changed.notified().await;
        tokio::time::sleep(GATHER).await;
        connection.room().await;
        let mut paths = std::mem::take(&mut *gathered.paths.lock().unwrap_or_else(PoisonError::into_inner));
        if paths.is_empty() {
            continue;
        }
        if PATHS_MAX < paths.len() {
            paths = BTreeSet::from([path.clone()]);
        }
        let changed_paths = paths.iter().map(|it| it.display().to_string()).collect();
        let changed = FsChanged {
            watch_id: watch_id.clone(),
            changed_paths,
        };
        connection.tell(&Notice::new("fs/changed", &changed));
    }
}
