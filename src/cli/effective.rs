//! `codex hosts -G HOST`: what holds for one host, and which line decided it.

use std::io::Write;

use codex_hosts::{HostId, did_you_mean};
use codex_ssh::config::{Query, Resolved, Severity, Sources, SystemWorld, resolve};
use codex_tui::text::sanitize::sanitize_line;
use serde_json::json;

use super::{
    HostsArgs,
    report::{self, Code, Problem},
    settings::{HostSettings, Settings},
    ssh::SshConfig,
};

pub(crate) fn run(args: &HostsArgs, host: &str) -> Result<Code, Problem> {
    if HostId(host.to_owned()).is_address() {
        let message = format!("`{host}` is the address of a server: no setting of SSH holds for it");
        return Err(Problem::usage(message).hint("name a host that is reached by SSH"));
    }
    let query = Query::parse(host).map_err(|it| Problem::usage(format!("`{host}` is not a host: {it}")))?;
    // As for `ssh -G`, the answer may depend on what `Match exec` programs say.
    let mut world = SystemWorld::new();
    let sources = match &args.ssh.file {
        Some(file) => Sources::file(file),
        None => Sources::default_for(&world),
    };
    let resolved =
        resolve(&query, &sources, &mut world).map_err(|it| Problem::usage(it.to_string()).hint(it.hint()))?;
    let text = match args.json {
        true => lines_of_json(&resolved),
        false => lines(&resolved),
    };
    // A reader that closed the pipe has seen enough.
    _ = std::io::stdout().lock().write_all(text.as_bytes());
    let others = Settings::read().unwrap_or_default().hosts;
    if let Some(Ok(HostSettings { command: Some(_), .. })) = others.get(host) {
        let text = format!("note: `{host}` has a `command` in hosts.toml: it is not reached by SSH");
        report::note(&sanitize_line(&text));
    }
    if let Some(question) = mistyped(&query, &resolved, &SshConfig::names(&sources)) {
        report::note(&sanitize_line(&question));
    }
    let in_effect = resolved.problems.iter().filter(|it| it.in_effect);
    for problem in in_effect.filter(|it| it.severity != Severity::Note) {
        report::note(&format!("warning: {}", sanitize_line(&problem.to_string())));
    }
    Ok(Code::Done)
}

/// Whether another host may have been meant. `ssh -G` answers about any name, and so do we; a name for which the
/// configuration has no `HostName` may be a mistyped one.
fn mistyped(query: &Query, resolved: &Resolved, names: &[String]) -> Option<String> {
    if resolved.settings.host_name != query.host {
        return None;
    }
    let question = did_you_mean(&query.host, names.iter().map(String::as_str))?;
    Some(format!(
        "note: `{}` is no alias of the configuration: {question}?",
        query.host
    ))
}

/// The lines of `ssh -G`; behind a tab, the place of what is not a default.
fn lines(resolved: &Resolved) -> String {
    let mut text = String::new();
    for it in resolved.effective() {
        let line = format!("{} {}", it.keyword, it.value);
        text += &sanitize_line(&line);
        if let Some(origin) = &it.origin {
            text += &format!("\t# {}", sanitize_line(&origin.to_string()));
        }
        text.push('\n');
    }
    text
}

fn lines_of_json(resolved: &Resolved) -> String {
    let line = |it: codex_ssh::config::Effective| {
        let origin = it.origin.as_ref();
        let value = json!({
            "keyword": it.keyword,
            "value": it.value,
            "file": origin.map(|it| it.file.display().to_string()),
            "line": origin.map(|it| it.line),
        });
        report::json_line(&value)
    };
    resolved.effective().into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use codex_ssh::config::{Query, Resolved, Sources, SystemWorld, resolve};

    use super::{lines, lines_of_json};

    fn ask(config: &str) -> (Resolved, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, config).unwrap();
        let resolved = resolve(
            &Query::host("box"),
            &Sources::file(&file),
            &mut SystemWorld::new(),
        );
        (resolved.unwrap(), file.display().to_string())
    }

    #[test]
    fn each_line_is_that_of_ssh_g_with_its_place_behind_a_tab() {
        let (resolved, file) =
            ask("Host box\n  HostName real\nHost *\n  IdentityFile ~/a\n  IdentityFile ~/b\n");
        let text = lines(&resolved);
        assert!(text.starts_with("host box\n"), "{text}");
        for (line, at) in [
            ("hostname real", 2),
            ("identityfile ~/a", 4),
            ("identityfile ~/b", 5),
        ] {
            assert!(text.contains(&format!("\n{line}\t# {file}:{at}\n")), "{text}");
        }
        assert!(text.contains("\nport 22\n"), "a default has no place: {text}");
        let bare: String = text
            .lines()
            .map(|it| format!("{}\n", it.split('\t').next().unwrap_or_default()))
            .collect();
        assert_eq!(bare, resolved.dump());
    }

    #[test]
    fn json_has_one_object_for_each_line() {
        let (resolved, file) = ask("Host box\n  Port 2222\n");
        let text = lines_of_json(&resolved);
        assert_eq!(text.lines().count(), resolved.dump().lines().count());
        let port = text.lines().find(|it| it.contains("\"port\"")).unwrap();
        let port: serde_json::Value = serde_json::from_str(port).unwrap();
        assert_eq!((&port["value"], &port["line"]), (&"2222".into(), &2.into()));
        assert_eq!(port["file"], file.as_str());
    }
}
