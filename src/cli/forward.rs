//! `--forward`: whose forwardings are opened.

use std::collections::BTreeSet;

use codex_fleet::Forward;
use codex_hosts::HostId;

use super::report::Problem;

/// What `--forward` says of these hosts; an empty word stands for all of them.
pub(super) fn parse(words: &[String], hosts: &[String]) -> Result<Forward, Problem> {
    if words.is_empty() {
        return Ok(Forward::None);
    }
    let mut chosen = BTreeSet::new();
    for word in words {
        if word.is_empty() {
            return Ok(Forward::All);
        }
        if !hosts.contains(word) {
            let message = format!("`--forward={word}` names none of the hosts");
            return Err(Problem::usage(message).hint("name it with --host as well"));
        }
        chosen.insert(HostId(word.clone()));
    }
    Ok(Forward::Of(chosen))
}

/// Where hosts follow without a word of their own, `--forward devbox` may be both: the choice of a host that is
/// named elsewhere, or the option alone before the name of a host to connect to.
pub(super) fn parse_before_hosts(words: &[String], hosts: &mut Vec<String>) -> Result<Forward, Problem> {
    let named = hosts.clone();
    let mut words = words.to_vec();
    for word in &mut words {
        if !word.is_empty() && !named.contains(word) {
            hosts.push(std::mem::take(word));
        }
    }
    parse(&words, hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&it| it.to_owned()).collect()
    }

    #[test]
    fn a_host_that_is_named_elsewhere_is_chosen_and_any_other_is_one_more_host() {
        let only = |name: &str| Forward::Of([HostId::from(name)].into());
        for (words, hosts, expected, connected) in [
            (&[][..], &["a", "b"][..], Forward::None, &["a", "b"][..]),
            (&[""], &["a", "b"], Forward::All, &["a", "b"]),
            (&["b"], &["a", "b"], only("b"), &["a", "b"]),
            (&["a"], &[], Forward::All, &["a"]),
            (&["a"], &["b"], Forward::All, &["b", "a"]),
            (&["a", ""], &["a"], Forward::All, &["a"]),
        ] {
            let mut hosts = strings(hosts);
            let forward = parse_before_hosts(&strings(words), &mut hosts).ok();
            assert_eq!(forward, Some(expected), "{words:?}");
            assert_eq!(hosts, connected, "{words:?}");
        }
        assert!(parse(&strings(&["c"]), &strings(&["a"])).is_err());
    }
}
