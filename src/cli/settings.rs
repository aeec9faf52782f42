//! `$CODEX_HOME/hosts.toml`: what the user says about hosts beyond ssh_config.
//!
//! Not in `config.toml`: an official CLI that shares it complains about a table `hosts`, with a warning to its
//! user at each start, and refuses to start with `--strict-config` (both seen with 0.169.0).

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use codex_fleet::{Server, Transport};
use toml_edit::{Document, Item, TableLike};

use super::{home, machine::THIS_MACHINE, report::Problem};

const FILE: &str = "hosts.toml";
/// A longer file is a mistake, for instance a device.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the file says about one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostSettings {
    /// A program whose standard streams are those of a POSIX shell on the host. `None`: SSH.
    pub(crate) command: Option<Vec<String>>,
    pub(crate) server: Server,
    /// For hosts of SSH.
    pub(crate) transport: Transport,
    /// Where its table begins.
    pub(crate) line: usize,
}

/// Something that is wrong at a place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    file: PathBuf,
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

/// The settings of all hosts. What is wrong with one host is no obstacle for the others.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) file: PathBuf,
    pub(crate) hosts: BTreeMap<String, Result<HostSettings, Remark>>,
    /// What was not understood and does no harm.
    pub(crate) remarks: Vec<Remark>,
}

impl Settings {
    /// Reads the user's file. Blocking. Without a file, or without a home for it, there are no settings.
    pub(crate) fn read() -> Result<Settings, Problem> {
        let Ok(home) = home::codex_home() else {
            return Ok(Settings::default());
        };
        let file = home.join(FILE);
        let text = match read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
            Err(error) => return Err(Problem::usage(format!("reading {}: {error}", file.display()))),
        };
        parse(&file, &text).map_err(|remark| {
            Problem::usage(remark.to_string())
                .hint("correct the file: it is TOML, a table `[hosts.NAME]` for each host")
        })
    }

    /// Whether this program's own SSH may be the way to the host: nothing says that something else is.
    pub(crate) fn allow_own_ssh(&self, name: &str) -> bool {
        match self.hosts.get(name) {
            Some(Ok(host)) => host.command.is_none() && host.transport != Transport::System,
            Some(Err(_)) | None => true,
        }
    }
}

fn read(file: &Path) -> io::Result<String> {
    if FILE_BYTES_MAX < fs::metadata(file)?.len() {
        return Err(io::Error::other(format!(
            "it is longer than {FILE_BYTES_MAX} bytes"
        )));
    }
    fs::read_to_string(file)
}

fn parse(file: &Path, text: &str) -> Result<Settings, Remark> {
    let line_of = |start: usize| text[..start.min(text.len())].matches('\n').count() + 1;
    let remark = |line: usize, text: String| Remark {
        file: file.to_owned(),
        line,
        text,
    };
    let document = Document::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |it| line_of(it.start));
        remark(line, error.message().to_owned())
    })?;
    let mut settings = Settings {
        file: file.to_owned(),
        ..Settings::default()
    };
    let place = |item: &Item| item.span().map_or(1, |it| line_of(it.start));
    for (key, item) in document.as_table() {
        match (key, item.as_table_like()) {
            ("hosts", Some(hosts)) => {
                for (name, item) in hosts.iter() {
                    let mut reader = Reader {
                        line: place(item),
                        place: &place,
                        remarks: Vec::new(),
                    };
                    let host = reader.host(name, item).map_err(|(line, text)| remark(line, text));
                    settings.hosts.insert(name.to_owned(), host);
                    let remarks = reader.remarks.into_iter();
                    settings
                        .remarks
                        .extend(remarks.map(|(line, text)| remark(line, text)));
                }
            }
            _ => settings.remarks.push(remark(
                place(item),
                format!("`{key}` is not known here; hosts are tables `[hosts.NAME]`"),
            )),
        }
    }
    Ok(settings)
}

/// Reads one host's table.
struct Reader<'a> {
    line: usize,
    place: &'a dyn Fn(&Item) -> usize,
    remarks: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn host(&mut self, name: &str, item: &Item) -> Result<HostSettings, (usize, String)> {
        if name == THIS_MACHINE || name.contains("://") || name.trim() != name || name.is_empty() {
            return Err((self.line, format!("`{name}` cannot be the name of a host")));
        }
        let table = item
            .as_table_like()
            .ok_or_else(|| (self.line, format!("`hosts.{name}` is no table")))?;
        let mut settings = HostSettings {
            line: self.line,
            ..HostSettings::default()
        };
        for (key, item) in TableLike::iter(table) {
            let line = (self.place)(item);
            let wrong = |what: &str| (line, format!("`{key}` of `{name}` {what}"));
            match key {
                "command" => {
                    let words = item.as_array().and_then(|it| {
                        it.iter()
                            .map(|word| word.as_str().map(str::to_owned))
                            .collect::<Option<Vec<_>>>()
                    });
                    let words = words.filter(|it| it.first().is_some_and(|it| !it.is_empty()));
                    let words =
                        words.ok_or_else(|| wrong("must be a list of words, the first one a program"))?;
                    settings.command = Some(words);
                }
                "server" => {
                    let text = item.as_str().ok_or_else(|| wrong("must be a text"))?;
                    settings.server = text.parse().map_err(|it| wrong(&format!("is wrong: {it}")))?;
                }
                "transport" => {
                    let text = item.as_str().ok_or_else(|| wrong("must be a text"))?;
                    settings.transport = text.parse().map_err(|it| wrong(&format!("is wrong: {it}")))?;
                }
                _ => self
                    .remarks
                    .push((line, format!("`{key}` of `{name}` is not known"))),
            }
        }
        if settings.command.is_some() && settings.transport != Transport::Auto {
            self.remarks.push((
                self.line,
                format!("`transport` of `{name}` has no meaning beside `command`"),
            ));
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Settings {
        parse(Path::new("/h/hosts.toml"), text).unwrap()
    }

    #[test]
    fn a_hosts_table_says_how_to_get_there() {
        let settings = read(
            "# mine\n[hosts.web]\ncommand = [\"docker\", \"exec\", \"-i\", \"web\", \"sh\"]\nserver = \"ours\"\n\
             [hosts.\"me@devbox:22\"]\nserver = \"/opt/codex\"\ntransport = \"auto\"\n\
             [hosts.bank]\ntransport = \"system\"\n",
        );
        let web = settings.hosts["web"].as_ref().unwrap();
        assert_eq!(web.command.as_ref().unwrap().join(" "), "docker exec -i web sh");
        assert_eq!((&web.server, web.line), (&Server::Ours, 2));
        let devbox = settings.hosts["me@devbox:22"].as_ref().unwrap();
        assert_eq!((&devbox.command, devbox.line), (&None, 5));
        assert_eq!(devbox.server, "/opt/codex".parse().unwrap());
        assert_eq!(devbox.transport, Transport::Auto);
        let bank = settings.hosts["bank"].as_ref().unwrap();
        assert_eq!(bank.transport, Transport::System);
        assert!(settings.remarks.is_empty());
    }

    #[test]
    fn one_wrong_host_does_not_hide_another_and_is_told_with_its_line() {
        let settings = read(
            "[hosts.good]\ncommand = [\"sh\"]\n[hosts.bad]\ncommand = \"sh\"\n[hosts.empty]\ncommand = []\n\
             [hosts.odd]\nserver = \"rm -rf\"\n[hosts.\"this machine\"]\n[hosts.gssapi]\ntransport = \"ssh\"\n",
        );
        assert!(settings.hosts["good"].is_ok());
        for (name, line, text) in [
            ("bad", 4, "a list of words"),
            ("empty", 6, "a list of words"),
            ("odd", 8, "rm -rf"),
            ("this machine", 9, "cannot be the name"),
            ("gssapi", 11, "\"auto\", \"builtin\" or \"system\""),
        ] {
            let remark = settings.hosts[name].as_ref().unwrap_err().to_string();
            let place = format!("/h/hosts.toml:{line}: ");
            assert!(remark.starts_with(&place) && remark.contains(text), "{remark}");
        }
    }

    #[test]
    fn unknown_keys_are_told_and_no_obstacle() {
        let settings = read("theme = 1\n[hosts.web]\ncommand = [\"sh\"]\ncomand = 1\n");
        assert!(settings.hosts["web"].is_ok());
        let remarks: Vec<String> = settings.remarks.iter().map(ToString::to_string).collect();
        assert_eq!(
            remarks,
            [
                "/h/hosts.toml:1: `theme` is not known here; hosts are tables `[hosts.NAME]`",
                "/h/hosts.toml:4: `comand` of `web` is not known"
            ]
        );
    }

    #[test]
    fn what_is_no_toml_says_where() {
        let error = parse(Path::new("/h/hosts.toml"), "[hosts.web]\ncommand = [\n").unwrap_err();
        assert!(error.to_string().starts_with("/h/hosts.toml:"), "{error}");
    }
}
