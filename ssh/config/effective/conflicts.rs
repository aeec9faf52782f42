//! Settings that OpenSSH changes or refuses because of others, once all of them are known.

use super::Builder;
use crate::config::{
    algorithms,
    keywords::{self, Kind},
    problem::Severity,
};

impl Builder<'_> {
    /// What one setting does to another. Called before tokens are expanded.
    pub(super) fn settle_conflicts(&mut self) {
        if self.get("updatehostkeys") == Some("ask") && !self.can_ask_for_host_keys() {
            self.replace("updatehostkeys", "false");
        }
        if self.text("proxyjump").is_some() && self.yes("proxyusefdpass") {
            self.replace("proxyusefdpass", "no");
        }
        if self.yes("clearallforwardings") {
            self.replace("tunnel", "false");
        }
        for (keyword, what) in self.refused() {
            let message = format!("{keyword}: {what}");
            self.problems
                .add(&self.origin(keyword), Severity::Error, true, message);
        }
    }

    fn replace(&mut self, keyword: &str, value: &str) {
        if let Some(setting) = self.table.get_mut(keyword) {
            setting.values = vec![value.to_owned()];
        }
    }

    /// OpenSSH asks in the terminal after the login, which must still be there and be its own.
    fn can_ask_for_host_keys(&self) -> bool {
        let goes_to_background =
            self.get("controlpersist") != Some("no") && self.text("controlpath").is_some();
        let is_quiet = matches!(self.get("loglevel"), Some("QUIET" | "FATAL" | "ERROR"));
        let has_terminal = self.text("remotecommand").is_none() && self.get("requesttty") != Some("false");
        !goes_to_background && !is_quiet && has_terminal
    }

    /// What OpenSSH refuses to start with, although each line alone is right.
    fn refused(&self) -> Vec<(&'static str, &'static str)> {
        let mut refused = Vec::new();
        if self.get("connectionattempts") == Some("0") {
            refused.push(("connectionattempts", "at least one attempt is needed"));
        }
        if self.get("proxycommand") == Some("-") && self.yes("proxyusefdpass") {
            refused.push(("proxycommand", "- cannot be combined with ProxyUseFdpass"));
        }
        let has_command = self.text("remotecommand").is_some() || self.get("sessiontype") == Some("none");
        if self.yes("forkafterauthentication") && !has_command {
            let what = "there is no command to run in the background";
            refused.push(("forkafterauthentication", what));
        }
        for (name, setting) in &self.table {
            let kind = keywords::find(name).map(|it| it.kind);
            if let (Some(Kind::Algorithms(family)), [list]) = (kind, setting.values.as_slice())
                && !algorithms::is_usable(family, list)
            {
                refused.push((
                    name,
                    "no algorithm is left, or one is negated outside of a - list",
                ));
            }
        }
        refused
    }
}
