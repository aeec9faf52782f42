//! The names a person can pick: literal `Host` names, without asking about any of them.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{
    destination,
    keywords::{self, Kind},
    parse::Item,
    pattern,
    problem::{ConfigError, Origin, Problem, Problems, Severity},
    source::{Files, Reach, Sources, include_paths},
    tokens::{Facts, Tokens},
    world::World,
};

/// A name that stands in the configuration literally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    pub file: PathBuf,
    /// Counts from one.
    pub line: u32,
}

/// Lists the concrete names of `Host` lines in the order of the files, each at its first place.
///
/// Includes are followed wherever they stand, `Match` is not evaluated: nothing is run and the network
/// is not asked.
///
/// # Errors
///
/// As for [`resolve`](super::resolve), as far as files are concerned.
pub fn aliases(sources: &Sources, world: &mut dyn World) -> Result<(Vec<Alias>, Vec<Problem>), ConfigError> {
    let mut it = Walk {
        tokens: local_tokens(world),
        world,
        files: Files::default(),
        problems: Problems::default(),
        found: Vec::new(),
        seen: HashSet::new(),
    };
    for source in &sources.files {
        it.file(&source.path, &Reach::source(source))?;
    }
    Ok((it.found, it.problems.into_list()))
}

/// The tokens that do not depend on a host.
fn local_tokens(world: &dyn World) -> Tokens {
    let home = world.home();
    let facts = Facts {
        original: "",
        host: "",
        host_key_alias: "",
        port: 0,
        user: "",
        jump: "",
        local_user: &world.local_user(),
        local_host: &world.host_name(),
        home: &home.to_string_lossy(),
        uid: world.uid(),
    };
    Tokens::of(&facts).only("dLliu")
}

struct Walk<'a> {
    tokens: Tokens,
    world: &'a mut dyn World,
    files: Files,
    problems: Problems,
    found: Vec<Alias>,
    seen: HashSet<String>,
}

impl Walk<'_> {
    fn file(&mut self, path: &Path, reach: &Reach) -> Result<(), ConfigError> {
        let items = self
            .files
            .open(path, reach, false, self.world, &mut self.problems)?;
        for item in items.iter().flat_map(|it| it.iter()) {
            let origin = Origin::new(path, item.line);
            match keywords::find(&item.keyword).map(|it| it.kind) {
                Some(Kind::Host) => self.names(item, &origin),
                Some(Kind::Include) => self.include(item, &origin, reach)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn names(&mut self, item: &Item, origin: &Origin) {
        let Some(words) = self.words(item, origin) else {
            return;
        };
        for name in words.into_iter().filter(|it| pattern::is_literal(it)) {
            if !destination::is_host_name(&name) {
                let message = format!("{name:?} cannot be a host; names are separated by spaces");
                self.problems.add(origin, Severity::Warning, false, message);
            } else if self.seen.insert(name.clone()) {
                self.found.push(Alias {
                    name,
                    file: origin.file.clone(),
                    line: origin.line,
                });
            }
        }
    }

    fn include(&mut self, item: &Item, origin: &Origin, reach: &Reach) -> Result<(), ConfigError> {
        for word in self.words(item, origin).unwrap_or_default() {
            let world = &*self.world;
            let expanded = self.tokens.expand_all(&word, &|name| world.env(name));
            let expanded = expanded.map_err(|it| format!("{word:?} is not looked into: {it}"));
            match expanded.and_then(|it| include_paths(&it, reach.scope, self.world)) {
                Ok(paths) => {
                    for path in paths {
                        self.file(&path, &reach.include(origin))?;
                    }
                }
                Err(message) => self.problems.add(origin, Severity::Warning, false, message),
            }
        }
        Ok(())
    }

    fn words(&mut self, item: &Item, origin: &Origin) -> Option<Vec<String>> {
        item.words()
            .map_err(|error| {
                let message = format!("{}: {error}", item.keyword);
                self.problems.add(origin, Severity::Error, false, message);
            })
            .ok()
    }
}
