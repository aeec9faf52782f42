//! Items to settings, for one host.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    canonical,
    destination::{self, Query},
    effective,
    keywords::{self, Effect, Keyword, Kind},
    parse::Item,
    pattern,
    problem::{ConfigError, Origin, Problem, Problems, Severity},
    settings::HostSettings,
    source::{Files, Reach, Scope, Sources, include_paths},
    tokens::{Facts, TokenError, Tokens},
    value::{self, Lookup},
    world::World,
};

/// Identity and certificate files of one host, as in OpenSSH.
const COLLECTED_MAX: usize = 100;

/// Files that one `UserKnownHostsFile` or `GlobalKnownHostsFile` may name, as in OpenSSH.
const LIST_MAX: usize = 32;

/// Settings that decide where a connection goes and whom it trusts. Going on without one of these
/// would connect somewhere else or believe somebody else, so a bad line is not skipped when it counts.
const DECISIVE: &[&str] = &[
    "hostname",
    "hostkeyalias",
    "knownhostscommand",
    "port",
    "proxycommand",
    "proxyjump",
    "revokedhostkeys",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
];

/// OpenSSH does not ask whether the block applies before it takes these.
const ACTIVE_EVERYWHERE: &[&str] = &["streamlocalbindmask", "syslogfacility"];

/// What the configuration says about one host.
#[derive(Debug)]
pub struct Resolved {
    pub settings: HostSettings,
    /// Where each keyword that was set got its (first) value. Keys are in lower case; values from the
    /// query are not listed.
    pub origins: BTreeMap<String, Origin>,
    pub problems: Vec<Problem>,
    /// Why nobody may connect with these settings: a value that OpenSSH, too, finds wrong only when it
    /// connects. The answer of `ssh -G` is not concerned.
    pub refusal: Option<ConfigError>,
    pub(super) host_argument: String,
    pub(super) values: Table,
    pub(super) lines: Lines,
}

/// Where each value of the keywords that collect values comes from.
pub(super) type Lines = BTreeMap<(&'static str, String), Origin>;

/// Keyword to what is known about it.
pub(super) type Table = BTreeMap<&'static str, Setting>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) values: Vec<String>,
    /// `None` for what the query says.
    pub(super) origin: Option<Origin>,
}

/// Asks the configuration about one host.
///
/// May run `Match exec` programs and, with `CanonicalizeHostname`, ask the resolver: call it where
/// blocking is allowed.
///
/// # Errors
///
/// A file that was named explicitly cannot be read, the user's file can be written by others, or a
/// setting that decides where the connection goes is unusable.
pub fn resolve(query: &Query, sources: &Sources, world: &mut dyn World) -> Result<Resolved, ConfigError> {
    let mut it = Interpreter {
        query,
        name: query.host.clone(),
        table: from_query(query),
        world,
        problems: Problems::default(),
        files: Files::default(),
        collected: BTreeSet::new(),
        final_pass: false,
        wants_final: false,
        stopped: None,
        lines: Lines::new(),
    };
    it.pass(sources)?;
    it.name = it.host_name();
    it.name = canonical::name(&it.name, &it.table, it.world, &mut it.problems)?;
    let canonicalize = it.get("canonicalizehostname").is_some_and(|it| it != "false");
    if it.wants_final || canonicalize {
        it.final_pass = true;
        it.settle_canonicalization();
        // The second pass starts with the name the first one found, and can never change it.
        let origin = it.table.get("hostname").and_then(|it| it.origin.clone());
        it.table.insert(
            "hostname",
            Setting {
                values: vec![it.name.clone()],
                origin,
            },
        );
        it.pass(sources)?;
    }
    if let Some(error) = it.stopped {
        return Err(error);
    }
    it.report_effects();
    let (table, problems, name, lines) = (it.table, it.problems, it.name, it.lines);
    let mut resolved = effective::build(query, name, table, problems, world)?;
    resolved.lines = lines;
    Ok(resolved)
}

fn from_query(query: &Query) -> Table {
    let mut table = Table::new();
    let mut put = |keyword, value: Option<String>| {
        if let Some(value) = value {
            table.insert(
                keyword,
                Setting {
                    values: vec![value],
                    origin: None,
                },
            );
        }
    };
    put("user", query.user.clone());
    put("port", query.port.map(|it| it.to_string()));
    table
}

pub(super) struct Interpreter<'a> {
    pub(super) query: &'a Query,
    /// What `Host` patterns ask about: the name as given, in the second pass the name found.
    pub(super) name: String,
    pub(super) table: Table,
    pub(super) world: &'a mut dyn World,
    pub(super) problems: Problems,
    files: Files,
    /// Identity files of the user and of the system count as different ones.
    collected: BTreeSet<(&'static str, Scope, String)>,
    pub(super) final_pass: bool,
    pub(super) wants_final: bool,
    pub(super) stopped: Option<ConfigError>,
    lines: Lines,
}

impl Interpreter<'_> {
    fn pass(&mut self, sources: &Sources) -> Result<(), ConfigError> {
        for source in &sources.files {
            self.file(&source.path, &Reach::source(source), true)?;
        }
        Ok(())
    }

    /// `reachable` is false inside a file that is included by a block that does not apply.
    fn file(&mut self, path: &Path, reach: &Reach, reachable: bool) -> Result<(), ConfigError> {
        let items = self
            .files
            .open(path, reach, reachable, self.world, &mut self.problems)?;
        let mut active = reachable;
        for item in items.iter().flat_map(|it| it.iter()) {
            let origin = Origin::new(path, item.line);
            if item.rest.is_empty() {
                let message = format!("no argument after {}", item.keyword);
                self.problems.add(&origin, Severity::Error, active, message);
                // What follows a block line that cannot be read must not join the block above it.
                active &= !matches!(item.keyword.as_str(), "host" | "match");
                continue;
            }
            let words = match item.words() {
                Ok(words) => words,
                Err(error) => {
                    self.reject(item, &origin, active, &error.to_string());
                    active &= !matches!(item.keyword.as_str(), "host" | "match");
                    continue;
                }
            };
            let Some(keyword) = keywords::find(&item.keyword) else {
                self.unknown(item, &origin, active);
                continue;
            };
            match keyword.kind {
                Kind::Host => active = self.host_applies(&words, &origin, reachable) && reachable,
                // Evaluated even when unreachable: a `final` in there asks for the second pass.
                Kind::Match => match self.match_applies(&words, &origin, reachable) {
                    Ok(applies) => active = reachable && applies,
                    Err(message) => {
                        self.problems.add(&origin, Severity::Error, reachable, message);
                        active = false;
                    }
                },
                Kind::Include => self.include(&words, &origin, reach, active)?,
                _ => self.setting(keyword, item, &words, &origin, reach.scope, active),
            }
        }
        Ok(())
    }

    fn host_applies(&mut self, words: &[String], origin: &Origin, reachable: bool) -> bool {
        // OpenSSH looks no further than the first word of a block that cannot apply, and no further
        // than a negated word that matches.
        let looked_at = words.iter().take(if reachable { words.len() } else { 1 });
        let mut applies = false;
        for word in looked_at {
            if word.is_empty() {
                self.problems
                    .add(origin, Severity::Error, reachable, "a pattern is empty");
                return false;
            }
            match word.strip_prefix('!') {
                Some(negated) if pattern::matches(negated, &self.name) => return false,
                Some(_) => {}
                None => applies |= pattern::matches(word, &self.name),
            }
        }
        applies
    }

    fn include(
        &mut self,
        words: &[String],
        origin: &Origin,
        reach: &Reach,
        active: bool,
    ) -> Result<(), ConfigError> {
        for word in words {
            let tokens = self.tokens();
            let world = &*self.world;
            let expanded = tokens.expand_all(word, &|name| world.env(name));
            let (expanded, severity) = match expanded {
                Ok(_) if word.is_empty() => (Err("a path is empty".to_owned()), Severity::Error),
                Ok(text) => (Ok(text), Severity::Error),
                Err(error) => {
                    let severity = match &error {
                        // OpenSSH says so and goes on, too.
                        TokenError::UnsetVariable(name) if !name.is_empty() => Severity::Warning,
                        _ => Severity::Error,
                    };
                    (Err(format!("{word:?} is not included: {error}")), severity)
                }
            };
            let paths = expanded.and_then(|it| include_paths(&it, reach.scope, self.world));
            match paths {
                Ok(paths) => {
                    for path in paths {
                        self.file(&path, &reach.include(origin), active)?;
                    }
                }
                Err(message) => self.problems.add(origin, severity, active, message),
            }
        }
        Ok(())
    }

    fn unknown(&mut self, item: &Item, origin: &Origin, active: bool) {
        let ignored = self.get("ignoreunknown").is_some_and(|it| {
            // Only the patterns are brought to lower case: the keyword already is.
            pattern::list_ignoring_case(it, &item.keyword)
        });
        if !ignored {
            let message = format!("unknown keyword {:?}", item.keyword);
            self.problems.add(origin, Severity::Error, active, message);
        }
    }

    fn setting(
        &mut self,
        keyword: &'static Keyword,
        item: &Item,
        words: &[String],
        origin: &Origin,
        scope: Scope,
        active: bool,
    ) {
        match keyword.kind {
            Kind::Ignored => {
                let message = format!("{} has no effect any more", item.keyword);
                return self.problems.add(origin, Severity::Note, active, message);
            }
            Kind::Unsupported => {
                let message = format!("{} is not supported any more", item.keyword);
                return self.problems.add(origin, Severity::Warning, active, message);
            }
            _ => {}
        }
        let world = &*self.world;
        let ask = Lookup {
            service: &|it| world.service_port(it),
            env: &|it| world.env(it),
        };
        let read = value::read(keyword, words, &item.rest, &ask);
        match read {
            Err(message) => self.reject(item, origin, active, &message),
            Ok(Some(values)) if active || ACTIVE_EVERYWHERE.contains(&keyword.name) => {
                self.store(keyword, values, origin, scope);
            }
            Ok(_) => {}
        }
    }

    /// A line that OpenSSH refuses.
    fn reject(&mut self, item: &Item, origin: &Origin, active: bool, message: &str) {
        let message = format!("{}: {message}", item.keyword);
        self.problems
            .add(origin, Severity::Error, active, message.clone());
        let name = keywords::find(&item.keyword).map_or("", |it| it.name);
        let routed = name.starts_with("proxy") && self.table.contains_key("proxycommand");
        if active && DECISIVE.contains(&name) && !self.table.contains_key(name) && !routed {
            self.stop(origin, message);
        }
    }

    /// The first reason wins; the rest of the files is still read, for its problems.
    pub(super) fn stop(&mut self, origin: &Origin, message: String) {
        let error = ConfigError::Setting {
            origin: origin.clone(),
            message,
        };
        self.stopped.get_or_insert(error);
    }

    /// Keeps the place of each value of the keywords that collect values.
    fn remember_lines(&mut self, keyword: &'static Keyword, values: &[String], origin: &Origin) {
        if let Kind::Collected | Kind::Forward(_) | Kind::SendEnv = keyword.kind {
            for value in values {
                let key = (keyword.name, value.clone());
                self.lines.entry(key).or_insert_with(|| origin.clone());
            }
        }
    }

    fn store(&mut self, keyword: &'static Keyword, mut values: Vec<String>, origin: &Origin, scope: Scope) {
        let name = keyword.name;
        match keyword.kind {
            Kind::Refuse => return self.stop(origin, format!("refuseconnection: {}", values.join(" "))),
            Kind::Collected => {
                if self
                    .table
                    .get(name)
                    .is_some_and(|it| it.values.len() >= COLLECTED_MAX)
                {
                    let message = format!("more than {COLLECTED_MAX} files");
                    return self.problems.add(origin, Severity::Error, true, message);
                }
                values.retain(|it| self.collected.insert((name, scope, it.clone())));
            }
            Kind::List if values.len() > LIST_MAX && !self.table.contains_key(name) => {
                let message = format!("{name}: more than {LIST_MAX} files");
                self.problems.add(origin, Severity::Error, true, message);
                values.truncate(LIST_MAX);
            }
            Kind::Jump => {
                let known = self.table.contains_key(name);
                if known || (values[0] != "none" && self.table.contains_key("proxycommand")) {
                    return;
                }
                if values[0] != "none" {
                    // From here on a ProxyCommand comes too late.
                    let none = Setting {
                        values: vec!["none".to_owned()],
                        origin: Some(origin.clone()),
                    };
                    self.table.insert("proxycommand", none);
                }
            }
            _ => {}
        }
        self.remember_lines(keyword, &values, origin);
        let setting = self.table.entry(name);
        let entry = setting.or_insert_with(|| Setting {
            values: Vec::new(),
            origin: Some(origin.clone()),
        });
        let first = entry.values.is_empty();
        match keyword.kind {
            Kind::Collected => entry.values.append(&mut values),
            Kind::Forward(_) => {
                values.retain(|it| !entry.values.contains(it));
                entry.values.append(&mut values);
            }
            Kind::SendEnv => {
                for it in values {
                    match it.strip_prefix('-') {
                        Some(gone) => entry.values.retain(|it| !pattern::matches(gone, it)),
                        None => entry.values.push(it),
                    }
                }
            }
            // The amount and the time of a RekeyLimit are won one by one.
            Kind::RekeyLimit if entry.values.len() == 1 => entry.values.extend(values.drain(1..)),
            // A socket path is a second setting behind the flag.
            Kind::ForwardAgent if !first => {
                let flags = [&entry.values[0], &values[0]].map(|it| value::flag(it).is_some());
                entry.values = if flags == [true, false] {
                    values
                } else {
                    std::mem::take(&mut entry.values)
                };
            }
            // The one keyword whose last value wins.
            Kind::Mask => (entry.values, entry.origin) = (values, Some(origin.clone())),
            _ if first => entry.values = values,
            _ => {}
        }
    }

    /// Says which settings of this host are not followed here.
    fn report_effects(&mut self) {
        for (name, setting) in &self.table {
            let (Some(keyword), Some(origin)) = (keywords::find(name), &setting.origin) else {
                continue;
            };
            if keyword.default == Some(setting.values.join(" ").as_str()) || setting.values.is_empty() {
                continue;
            }
            match keyword.effect {
                Effect::Applied => {}
                Effect::Idle(why) => {
                    let message = format!("{name} has no effect on these connections: {why}");
                    self.problems.add(origin, Severity::Note, true, message);
                }
                Effect::Missing(why) => {
                    let message = format!("{name} is not supported on these connections: {why}");
                    self.problems.add(origin, Severity::Warning, true, message);
                }
            }
        }
    }

    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        self.table.get(keyword)?.values.first().map(String::as_str)
    }

    /// What decided about the name is decided: the second pass cannot set it any more.
    fn settle_canonicalization(&mut self) {
        for name in [
            "canonicalizehostname",
            "canonicalizemaxdots",
            "canonicalizefallbacklocal",
        ] {
            let default = keywords::find(name).and_then(|it| it.default).unwrap_or_default();
            self.table.entry(name).or_insert_with(|| Setting {
                values: vec![default.to_owned()],
                origin: None,
            });
        }
    }

    /// The name that would be connected to, as far as is known.
    pub(super) fn host_name(&mut self) -> String {
        let Some(setting) = self.table.get("hostname") else {
            return self.name.clone();
        };
        let text = setting.values[0].clone();
        if self.final_pass {
            return text;
        }
        match Tokens::single('h', &self.name).expand(&text) {
            Ok(name) => name,
            Err(error) => {
                if let Some(origin) = setting.origin.clone() {
                    self.stop(&origin, format!("hostname {text:?}: {error}"));
                }
                text
            }
        }
    }

    /// The tokens of `Match exec` and `Include`, from what is known so far.
    pub(super) fn tokens(&mut self) -> Tokens {
        let host = self.host_name();
        let (local_user, home) = (self.world.local_user(), self.world.home());
        let jump = self
            .get("proxyjump")
            .filter(|it| *it != "none")
            .and_then(|it| it.rsplit(',').next());
        let jump = jump.and_then(|it| destination::hop(it, &|it| self.world.service_port(it)).ok());
        Tokens::of(&Facts {
            original: &self.query.host,
            host: &host,
            host_key_alias: self.get("hostkeyalias").unwrap_or(&host),
            port: self.get("port").and_then(|it| it.parse().ok()).unwrap_or(22),
            user: self.get("user").unwrap_or(&local_user),
            jump: jump.as_ref().map_or("", |it| &it.host),
            local_user: &local_user,
            local_host: &self.world.host_name(),
            home: &home.to_string_lossy(),
            uid: self.world.uid(),
        })
    }
}
