//! This machine: what its own app-server needs, found out without serving anybody.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use codex_exec::sandbox::{Outcome, Preflight};
use codex_server::{Origin, Place, Server, Setup, reach};
use serde_json::json;
use tokio::time::timeout;

use super::{
    finding::{Examined, Finding},
    programs, state,
};
use crate::cli::{
    home,
    report::{Code, Problem},
};

/// A sign of life of the provider.
const ONLINE_PATIENCE: Duration = Duration::from_secs(15);
/// What is told of a list; the rest is counted.
const TOLD_MAX: usize = 3;

pub(super) fn examine(online: bool) -> Result<Examined, Problem> {
    let setup = home::setup()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(Code::TurnFailed, format!("starting the runtime: {error}")))?;
    let findings = runtime.block_on(findings(setup, online));
    // A sandbox that hangs must not keep the program from ending.
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(Examined {
        host: None,
        findings,
        more: json!({ "version": env!("CARGO_PKG_VERSION") }),
    })
}

async fn findings(setup: Setup, online: bool) -> Vec<Finding> {
    let program = std::env::current_exe().unwrap_or_else(|_| setup.sandbox_helper.clone());
    let (own_folder, codex_home) = (setup.own_folder(), setup.codex_home.clone());
    let search_path = setup.variable("PATH").unwrap_or_default().to_owned();
    let mut findings = programs::examine(&program, &setup.version, &search_path).await;
    findings.push(state::home(&codex_home));
    let server = Server::new(setup);
    findings.push(config(&server));
    findings.push(timed(|| credential(&server)));
    findings.push(provider(&server, online).await);
    let start = Instant::now();
    let preflight = server.runner().preflight().await;
    findings.push(sandbox(preflight).took(start.elapsed()));
    findings.push(mcp(&server));
    findings.push(state::writable(&own_folder));
    findings.push(state::room(&own_folder));
    findings.push(timed(|| threads(&server)));
    findings.push(state::clock(&program, SystemTime::now()));
    findings
}

fn timed(find: impl FnOnce() -> Finding) -> Finding {
    let start = Instant::now();
    let finding = find();
    finding.took(start.elapsed())
}

/// Some of the list, and how many there are beyond them.
fn some(list: &[String]) -> String {
    let mut text = list.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join("; ");
    if TOLD_MAX < list.len() {
        text += &format!("; and {} more", list.len() - TOLD_MAX);
    }
    text
}

fn config(server: &Server) -> Finding {
    let (exists, warnings) = server.config_warnings();
    let file = server.setup().codex_home.join("config.toml");
    if warnings.is_empty() {
        let text = match exists {
            true => format!("{} has nothing wrong in it", file.display()),
            false => format!("there is no {}: the defaults are in force", file.display()),
        };
        return Finding::fine("config", text);
    }
    let told: Vec<String> = warnings
        .iter()
        .map(|it| match it.range {
            Some(range) => format!("line {}: {}", range.start.line, it.summary),
            None => it.summary.clone(),
        })
        .collect();
    let fix = format!("correct {}; what is wrong in it is not in force", file.display());
    Finding::warning("config", some(&told), fix).details(json!(told))
}

/// Which credential the configured provider would get, never its value.
fn credential(server: &Server) -> Finding {
    let stage = "credential";
    let config = server.config();
    let id = config.provider_id();
    let Some(resolved) = server.provider(id) else {
        return Finding::broken(
            stage,
            format!("model provider `{id}` is not configured"),
            format!("add `[model_providers.{id}]` to config.toml, or correct `model_provider`"),
        );
    };
    match resolved {
        Ok(provider) => match provider.credential {
            None => Finding::fine(stage, format!("`{id}` needs none")),
            Some(credential) if credential.origin == "login" => {
                let place = match server.logins().origin(None) {
                    Some(Origin::Stored(Place::Keyring)) => "the system keyring".to_owned(),
                    Some(Origin::Stored(Place::File(file))) => file.display().to_string(),
                    _ => "the login".to_owned(),
                };
                Finding::fine(stage, format!("`{id}` gets the API key stored in {place}"))
            }
            Some(credential) => Finding::fine(stage, format!("`{id}` gets the {}", credential.origin)),
        },
        Err(error) => {
            // A key that is stored and cannot be read is another fault than none.
            let stored = server.logins().look().err();
            let (text, fix) = match &stored {
                Some(why) => {
                    let cause = std::error::Error::source(why).map(|it| format!(": {it}"));
                    let text = format!("{error}; {why}{}", cause.unwrap_or_default());
                    (text, why.hint().map(str::to_owned))
                }
                None => (error.to_string(), error.hint()),
            };
            Finding::new(stage, super::Verdict::Broken, text).fix(fix)
        }
    }
}

async fn provider(server: &Server, online: bool) -> Finding {
    let stage = "provider";
    let config = server.config();
    let id = config.provider_id();
    let Some(Ok(provider)) = server.provider(id) else {
        return Finding::skipped(stage, format!("`{id}` cannot be asked without its credential"));
    };
    let address = without_login(&provider.base_url);
    if !online {
        return Finding::skipped(stage, format!("{address} is asked only with --online"));
    }
    let start = Instant::now();
    let fix = "check the network, HTTPS_PROXY, and `base_url` of the provider";
    let finding = match timeout(ONLINE_PATIENCE, reach(&provider)).await {
        // A base address has nothing to give: any status is an answer.
        Ok(Ok(status)) if status < 500 => Finding::fine(stage, format!("{address} answers, HTTP {status}")),
        Ok(Ok(status)) => Finding::warning(
            stage,
            format!("{address} answers with an error, HTTP {status}"),
            "try again later, and look at the provider's status page",
        ),
        Ok(Err(error)) => Finding::broken(stage, format!("{address}: {error}"), fix),
        Err(_) => {
            let seconds = ONLINE_PATIENCE.as_secs();
            Finding::broken(stage, format!("{address}: no answer within {seconds} s"), fix)
        }
    };
    finding.took(start.elapsed())
}

/// An address without what may be secret in it: the user and password before the host, and the query.
fn without_login(address: &str) -> String {
    let shown = address.split(['?', '#']).next().unwrap_or_default();
    match shown.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => shown.to_owned(),
    }
}

fn sandbox(preflight: &Preflight) -> Finding {
    let details: Vec<_> = preflight
        .findings
        .iter()
        .map(|it| match &it.outcome {
            Outcome::Works { limits } => {
                json!({ "mechanism": it.mechanism.label(), "works": true, "limits": limits })
            }
            Outcome::Fails { reason, fix } => {
                json!({ "mechanism": it.mechanism.label(), "works": false, "reason": reason, "fix": fix })
            }
        })
        .collect();
    let told: Vec<String> = preflight
        .findings
        .iter()
        .map(|it| {
            let label = it.mechanism.label();
            match &it.outcome {
                // Only the limits of the one that is used matter; the details have all.
                Outcome::Works { limits }
                    if preflight.chosen() == Some(it.mechanism) && !limits.is_empty() =>
                {
                    format!("{label} works ({})", limits.join("; "))
                }
                Outcome::Works { .. } => format!("{label} works"),
                Outcome::Fails { reason, .. } => format!("{label} does not: {reason}"),
            }
        })
        .collect();
    let finding = match preflight.chosen() {
        Some(chosen) => Finding::fine(
            "sandbox",
            format!("commands run in {}: {}", chosen.label(), told.join(", ")),
        ),
        None => {
            let (_, fixes) = preflight.complaints();
            let text = format!("commands that need a sandbox are refused: {}", told.join(", "));
            Finding::broken("sandbox", text, fixes)
        }
    };
    finding.details(json!(details))
}

fn mcp(server: &Server) -> Finding {
    let checkup = server.check_mcp();
    match checkup.problems.is_empty() {
        true => {
            let text = match checkup.usable {
                0 => "no MCP server is configured".to_owned(),
                1 => "1 MCP server is configured".to_owned(),
                count => format!("{count} MCP servers are configured"),
            };
            Finding::fine("mcp", text)
        }
        false => Finding::warning(
            "mcp",
            some(&checkup.problems),
            "correct config.toml; a server with a problem is left out",
        )
        .details(json!(checkup.problems)),
    }
}

fn threads(server: &Server) -> Finding {
    match server.check_threads() {
        Ok(it) if it.problems.is_empty() => match it.count {
            0 => Finding::fine("threads", "none yet"),
            count => Finding::fine("threads", format!("{count}, all readable")),
        },
        Ok(it) => {
            let problems: Vec<String> = it
                .problems
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
            Finding::warning(
                "threads",
                format!("{}, and damage: {}", it.count, some(&problems)),
                "keep a copy of the file that is named; the other threads are not concerned",
            )
            .details(json!(problems))
        }
        Err(why) => Finding::broken("threads", why, "make the folder of the threads readable for you"),
    }
}
