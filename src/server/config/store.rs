//! The file `config.toml`: read when it has changed, replaced as a whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use codex_protocol::v2::{ConfigEdit, ConfigWarning};
use sha2::{Digest, Sha256};
use toml_edit::DocumentMut;

use super::{
    edit::{self, EditError},
    read::Config,
};
use crate::private;

/// A configuration that somebody wrote by hand is far smaller.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The file's state, read.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Arc<Config>,
    pub(crate) warnings: Arc<[ConfigWarning]>,
    /// `sha256:` and the digest of the file's bytes.
    pub(crate) version: Arc<str>,
    /// Whether there is a file at all.
    pub(crate) exists: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("only {} can be written, not {asked}", file.display())]
    OtherFile { file: PathBuf, asked: String },
    #[error("{} has changed since it was read", .0.display())]
    Changed(PathBuf),
    #[error("{} is not valid TOML, so nothing is changed in it", .0.display())]
    NotToml(PathBuf),
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The file would hold a value that is then left out.
    #[error("{0}")]
    Invalid(String),
    #[error("writing {}", file.display())]
    Io { file: PathBuf, source: io::Error },
}

/// The user's configuration.
pub(crate) struct Store {
    file: PathBuf,
    /// What was read last, and what the file looked like then. Held while the file is written.
    last: Mutex<Option<(Stamp, Loaded)>>,
}

#[derive(PartialEq)]
struct Stamp(Option<(SystemTime, u64)>);

impl Store {
    pub(crate) fn new(codex_home: &Path) -> Store {
        Store {
            file: codex_home.join("config.toml"),
            last: Mutex::new(None),
        }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// What the file says. Blocking, and short.
    pub(crate) fn load(&self) -> Loaded {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = fs::metadata(&self.file).ok();
        let stamp = Stamp(metadata.and_then(|it| Some((it.modified().ok()?, it.len()))));
        if let Some((known, loaded)) = &*last
            && *known == stamp
        {
            return loaded.clone();
        }
        let (text, problem) = match self.text() {
            Ok(text) => (text, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            Err(error) => (
                None,
                Some(format!("{} is not read: {error}", self.file.display())),
            ),
        };
        let mut loaded = self.read(text.as_deref());
        if let Some(summary) = problem {
            let path = Some(self.file.display().to_string());
            loaded.warnings = [ConfigWarning {
                summary,
                details: None,
                path,
                range: None,
            }]
            .into();
        }
        *last = Some((stamp, loaded.clone()));
        loaded
    }

    /// Does all edits or none. Blocking.
    pub(crate) fn write(
        &self,
        edits: &[ConfigEdit],
        expected_version: Option<&str>,
        file: Option<&str>,
    ) -> Result<Loaded, WriteError> {
        if let Some(asked) = file.filter(|it| Path::new(it) != self.file) {
            return Err(WriteError::OtherFile {
                file: self.file.clone(),
                asked: asked.to_owned(),
            });
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| WriteError::Io {
            file: self.file.clone(),
            source,
        };
        let text = match self.text() {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let before = self.read(text.as_deref());
        if expected_version.is_some_and(|it| it != &*before.version) {
            return Err(WriteError::Changed(self.file.clone()));
        }
        let document = text.as_deref().unwrap_or_default().parse::<DocumentMut>();
        let mut document = document.map_err(|_| WriteError::NotToml(self.file.clone()))?;
        for it in edits {
            edit::apply(&mut document, it)?;
        }
        let text = document.to_string();
        let after = self.read(Some(&text));
        if let Some(warning) = after.warnings.iter().find(|it| !is_known(it, &before)) {
            return Err(WriteError::Invalid(warning.summary.clone()));
        }
        // A link stays a link: what it names is replaced.
        let target = fs::canonicalize(&self.file).unwrap_or_else(|_| self.file.clone());
        private::replace(&target, text.as_bytes()).map_err(failed)?;
        *last = None;
        Ok(after)
    }

    fn text(&self) -> io::Result<Option<String>> {
        let length = fs::metadata(&self.file)?.len();
        if FILE_BYTES_MAX < length {
            return Err(io::Error::other(format!(
                "it has {length} bytes, more than {FILE_BYTES_MAX}"
            )));
        }
        fs::read_to_string(&self.file).map(Some)
    }

    fn read(&self, text: Option<&str>) -> Loaded {
        let (config, warnings) = Config::read(text.unwrap_or_default(), &self.file);
        let digest = Sha256::digest(text.unwrap_or_default());
        let digest: String = digest.iter().map(|it| format!("{it:02x}")).collect();
        Loaded {
            config: config.into(),
            warnings: warnings.into(),
            version: format!("sha256:{digest}").into(),
            exists: text.is_some(),
        }
    }
}

/// Whether a warning was there before, perhaps in another line.
fn is_known(warning: &ConfigWarning, before: &Loaded) -> bool {
    let subject = |it: &ConfigWarning| it.summary.split(" in line ").next().map(str::to_owned);
    before.warnings.iter().any(|it| subject(it) == subject(warning))
}

#[cfg(test)]
mod tests {
    use codex_protocol::v2::MergeStrategy;
    use serde_json::{Value, json};

    use super::*;

    fn edit(key_path: &str, value: Value) -> [ConfigEdit; 1] {
        [ConfigEdit {
            key_path: key_path.to_owned(),
            value,
            merge_strategy: MergeStrategy::Replace,
        }]
    }

    #[test]
    fn a_write_is_seen_and_changes_the_version() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path());
        let before = store.load();
        assert!(!before.exists);
        let after = store
            .write(&edit("model", json!("m")), Some(&before.version), None)
            .unwrap();
        assert_ne!(before.version, after.version);
        assert_eq!(store.load().config.model(), "m");
        let stale = store.write(&edit("model", json!("n")), Some(&before.version), None);
        assert!(matches!(stale, Err(WriteError::Changed(_))));
        let elsewhere = store.write(&edit("model", json!("n")), None, Some("/etc/passwd"));
        assert!(matches!(elsewhere, Err(WriteError::OtherFile { .. })));
    }

    #[test]
    fn a_value_that_would_be_left_out_is_not_written() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path());
        fs::write(
            home.path().join("config.toml"),
            "model_context_window = \"old sin\"\n",
        )
        .unwrap();
        let refused = store.write(&edit("sandbox_mode", json!("safe")), None, None);
        assert!(matches!(refused, Err(WriteError::Invalid(_))));
        store
            .write(&edit("sandbox_mode", json!("read-only")), None, None)
            .unwrap();
        assert_eq!(store.load().warnings.len(), 1, "the old one");
    }
}
