//! Which key each host took last: it is offered first the next time, which saves a round trip for each
//! key that would be refused, and the server's patience (`MaxAuthTries`).

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::offers::Offer;
use crate::{config::settings::HostSettings, limits};

/// Fingerprints of public keys: no secret, and no more than an order to try in.
#[derive(Default)]
pub(crate) struct Memory {
    known: Mutex<Known>,
    file: Option<PathBuf>,
}

#[derive(Default)]
struct Known {
    /// From the place of a login to the name of the key, with the time of its use.
    keys: HashMap<String, (String, u64)>,
    clock: u64,
}

impl Memory {
    /// Goes on with what `file` remembers; without one, the memory ends with the process. Whatever is
    /// wrong with the file costs the memory only. Blocks on the disk.
    pub(crate) fn at(file: PathBuf) -> Memory {
        let memory = Memory {
            file: Some(file.clone()),
            ..Memory::default()
        };
        let text = match fs::metadata(&file) {
            Ok(about) if about.len() <= limits::KEY_FILE => fs::read_to_string(&file).unwrap_or_default(),
            _ => String::new(),
        };
        let mut known = memory.known.lock().unwrap_or_else(PoisonError::into_inner);
        for line in text.lines() {
            if let Some((place, name)) = line.split_once(' ') {
                known.put(place.to_owned(), name.to_owned());
            }
        }
        drop(known);
        memory
    }

    /// Puts the key that this host took last before all others.
    pub(crate) fn promote(&self, settings: &HostSettings, offers: &mut [Offer]) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((name, _)) = known.keys.get(&place(settings)) else {
            return;
        };
        let found = offers
            .iter()
            .position(|it| it.identity().as_deref() == Some(name));
        if let Some(found) = found {
            offers[..=found].rotate_right(1);
        }
    }

    /// Notes that the host took this key. Blocks on the disk when there is news.
    pub(crate) fn remember(&self, settings: &HostSettings, offer: &Offer) {
        let Some(name) = offer.identity() else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.put(place(settings), name)
            && let Some(file) = &self.file
        {
            // The login goes on in any case, and the next one can try again.
            let _ = write(file, &known.text());
        }
    }
}

impl Known {
    /// Whether it is news.
    fn put(&mut self, place: String, name: String) -> bool {
        self.clock += 1;
        let old = self.keys.insert(place, (name.clone(), self.clock));
        if self.keys.len() > limits::REMEMBERED_KEYS {
            let oldest = self.keys.iter().min_by_key(|it| it.1.1).map(|it| it.0.clone());
            oldest.and_then(|it| self.keys.remove(&it));
        }
        old.is_none_or(|it| it.0 != name)
    }

    fn text(&self) -> String {
        let mut lines: Vec<_> = self.keys.iter().collect();
        lines.sort_unstable_by_key(|it| it.1.1);
        let line = |(place, (name, _)): (&String, &(String, u64))| format!("{place} {name}\n");
        lines.into_iter().map(line).collect()
    }
}

/// A login's place: the same name behind two jump hosts would be two hosts, and only the order suffers.
fn place(settings: &HostSettings) -> String {
    let HostSettings {
        user,
        host_name,
        port,
        ..
    } = settings;
    format!("{user}@{host_name}:{port}").replace(char::is_whitespace, "_")
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut beside = file.to_owned().into_os_string();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut options = fs::OpenOptions::new();
    let mut output = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    output.write_all(text.as_bytes())?;
    fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::{Known, limits};

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut known = Known::default();
        for number in 0..=limits::REMEMBERED_KEYS {
            assert!(known.put(format!("me@host{number}:22"), "SHA256:x".to_owned()));
        }
        assert_eq!(known.keys.len(), limits::REMEMBERED_KEYS);
        assert!(!known.keys.contains_key("me@host0:22"));
        assert!(!known.put("me@host1:22".to_owned(), "SHA256:x".to_owned()));
        assert!(known.text().ends_with("me@host1:22 SHA256:x\n"));
    }
}
