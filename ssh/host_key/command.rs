//! `KnownHostsCommand`: a program that knows host keys.

use std::path::PathBuf;

use russh::keys::{HashAlg, PublicKey, PublicKeyBase64};

use crate::{
    config::settings::{CommandTemplate, HostSettings},
    error::Failure,
    known_hosts::KnownHosts,
    limits, program,
};

/// Why the program is asked, as `%I` tells it.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// Which types of keys are known: the algorithms that are offered depend on it.
    Order,
    HostName(&'a PublicKey),
    Address(&'a str, &'a PublicKey),
}

/// Adds what the program says to what the files say. As in OpenSSH, a program that fails ends the
/// connection: what it did not say may have been a revocation.
pub(super) async fn ask(
    settings: &HostSettings,
    known: &mut KnownHosts,
    purpose: Purpose<'_>,
) -> Result<(), Failure> {
    let Some(template) = &settings.host_keys.command else {
        return Ok(());
    };
    let failed = |command: &[String], why: String| Failure::KnownHostsCommand {
        command: command.join(" "),
        why,
    };
    let words = words(template, &known.entry, purpose).map_err(|why| failed(&[], why))?;
    // Its output is a file like the others.
    let (limit, most) = (limits::KNOWN_HOSTS_COMMAND, limits::KNOWN_HOSTS_FILE);
    let said = program::run(&words, &[], Some(limit), most).await;
    let said = said.map_err(|error| failed(&words, error.to_string()))?;
    if !said.success {
        return Err(failed(&words, said.ending));
    }
    let program = words.first().map(PathBuf::from).unwrap_or_default();
    known.add_output(&program, &said.output);
    Ok(())
}

fn words(template: &CommandTemplate, entry: &str, purpose: Purpose<'_>) -> Result<Vec<String>, String> {
    let none = || "NONE".to_owned();
    let (reason, name, key) = match purpose {
        Purpose::Order => ("ORDER", entry, None),
        Purpose::HostName(key) => ("HOSTNAME", entry, Some(key)),
        Purpose::Address(address, key) => ("ADDRESS", address, Some(key)),
    };
    let late = [
        ('I', reason.to_owned()),
        ('H', name.to_owned()),
        (
            't',
            key.map_or_else(none, |it| it.algorithm().as_str().to_owned()),
        ),
        (
            'f',
            key.map_or_else(none, |it| it.fingerprint(HashAlg::Sha256).to_string()),
        ),
        ('K', key.map_or_else(none, PublicKeyBase64::public_key_base64)),
    ];
    template.expand(&late).map_err(|error| error.to_string())
}
