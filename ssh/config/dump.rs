//! The answer in the words of `ssh -G`.

use super::{
    algorithms,
    keywords::{KEYWORDS, Keyword, Kind},
    problem::Origin,
    resolve::Resolved,
};

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// As `ssh -G` spells it.
    pub keyword: String,
    pub value: String,
    /// The line that decided; `None` for defaults and for what the destination itself says.
    pub origin: Option<Origin>,
}

impl Resolved {
    /// `keyword value` lines as `ssh -G` prints them, for people and for comparison: everything that is
    /// set and OpenSSH's defaults for the rest. Defaults are those of OpenSSH 10.5; a distribution may
    /// have others.
    pub fn dump(&self) -> String {
        let line = |it: Effective| format!("{} {}\n", it.keyword, it.value);
        self.effective().into_iter().map(line).collect()
    }

    /// The same lines, each with the file and line that decided it.
    pub fn effective(&self) -> Vec<Effective> {
        let mut out = Lines {
            resolved: self,
            lines: Vec::new(),
        };
        out.push("host", &self.host_argument);
        for keyword in KEYWORDS {
            out.keyword(keyword);
        }
        out.lines
    }

    fn default(&self, keyword: &Keyword) -> Option<String> {
        match keyword.name {
            "userknownhostsfile" => {
                let files = &self.settings.user_known_hosts_files;
                let files = files.iter().map(|it| it.display().to_string());
                Some(files.collect::<Vec<_>>().join(" "))
            }
            _ => keyword.default.map(str::to_owned),
        }
    }
}

struct Lines<'a> {
    resolved: &'a Resolved,
    lines: Vec<Effective>,
}

impl Lines<'_> {
    fn push(&mut self, name: &'static str, value: &str) {
        let own = self.resolved.lines.get(&(name, value.to_owned()));
        let first = self.resolved.values.get(name).and_then(|it| it.origin.as_ref());
        self.lines.push(Effective {
            // The one name that OpenSSH spells in two ways.
            keyword: match name {
                "canonicalizepermittedcnames" => "canonicalizePermittedcnames".to_owned(),
                name => name.to_owned(),
            },
            value: value.to_owned(),
            origin: own.or(first).cloned(),
        });
    }

    fn keyword(&mut self, keyword: &Keyword) {
        let (name, resolved) = (keyword.name, self.resolved);
        let values = resolved.values.get(name).map_or(&[][..], |it| &it.values);
        let first = values.first().map(String::as_str);
        let cleared = resolved.values.get("clearallforwardings");
        let cleared = cleared.is_some_and(|it| it.values == ["yes"]);
        match keyword.kind {
            Kind::Forward(_) if cleared => {}
            Kind::Algorithms(family) => self.push(name, &algorithms::assemble(family, first)),
            Kind::Jump => {
                if let Some(list) = first.filter(|it| *it != "none") {
                    self.push(name, list);
                }
            }
            Kind::Collected | Kind::Forward(_) | Kind::SendEnv | Kind::SetEnv if !values.is_empty() => {
                values.iter().for_each(|it| self.push(name, it));
            }
            Kind::RekeyLimit if values.len() == 1 => self.push(name, &format!("{} 0", values[0])),
            // The one list of which `none` is kept as it was written.
            Kind::List if name == "logverbose" && !values.is_empty() => self.push(name, &values[0]),
            Kind::List | Kind::Domains | Kind::Cnames if is_none(values) => self.push(name, "none"),
            Kind::Text | Kind::Command if is_none(values) && cleared_by_none(name) => {}
            Kind::Cnames => self.push(name, &joined(values).unwrap_or("none".to_owned())),
            _ => match joined(values).or_else(|| resolved.default(keyword)) {
                Some(text) => self.push(name, &text),
                None => self.defaults(name),
            },
        }
    }

    fn defaults(&mut self, name: &'static str) {
        if name == "identityfile" {
            for file in [
                "rsa",
                "ecdsa",
                "ecdsa_sk",
                "ed25519",
                "ed25519_sk",
                "mldsa44_ed25519",
            ] {
                self.push(name, &format!("~/.ssh/id_{file}"));
            }
        }
    }
}

fn joined(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| values.join(" "))
}

fn is_none(values: &[String]) -> bool {
    matches!(values, [one] if one.eq_ignore_ascii_case("none"))
}

/// Texts for which `none` is the same as nothing.
fn cleared_by_none(name: &str) -> bool {
    matches!(
        name,
        "controlpath"
            | "knownhostscommand"
            | "localcommand"
            | "pkcs11provider"
            | "proxycommand"
            | "remotecommand"
            | "securitykeyprovider"
    )
}
