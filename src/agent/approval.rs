//! Who decides whether a call may run: the policy, what was granted before, or the user.

use std::collections::BTreeSet;

use codex_protocol::v2::AskForApproval;
use serde::{Deserialize, Serialize};

/// When the user is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalPolicy {
    /// Before everything that is not known to be safe.
    Untrusted,
    /// When the model wants to leave the sandbox, and before dangerous commands.
    OnRequest,
    /// Never: what would need a question is refused.
    Never,
}

impl ApprovalPolicy {
    /// Reads the protocol's value. The granular form, and every word of a later version, means asking on request.
    pub fn read(value: &AskForApproval) -> ApprovalPolicy {
        match value.0.as_str() {
            Some("untrusted" | "unless-trusted") => ApprovalPolicy::Untrusted,
            Some("never") => ApprovalPolicy::Never,
            _ => ApprovalPolicy::OnRequest,
        }
    }

    /// The word on the wire and in the prompt.
    pub fn label(self) -> &'static str {
        match self {
            ApprovalPolicy::Untrusted => "untrusted",
            ApprovalPolicy::OnRequest => "on-request",
            ApprovalPolicy::Never => "never",
        }
    }
}

/// What is known about a command from its text alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandClass {
    /// In the table of commands that only look.
    Safe,
    Unknown,
    /// Likely to destroy something, like `rm -f`.
    Dangerous,
}

/// How a call may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Permission {
    /// Under the thread's sandbox policy.
    Sandboxed,
    /// As the user of the host: approved by somebody, or by a rule.
    Unsandboxed,
}

/// Whether there is a sandbox to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containment {
    Sandboxed,
    /// `danger-full-access`: everything runs unsandboxed by the user's choice.
    None,
}

/// A command about which somebody has to decide.
#[derive(Clone, Copy, Debug)]
pub struct CommandRequest<'a> {
    pub words: &'a [String],
    pub cwd: &'a str,
    pub class: CommandClass,
    /// What the model asks for.
    pub wants: Permission,
}

/// What is to be done with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Run(Permission),
    Ask,
    /// The model is told this.
    Refuse(&'static str),
}

/// Something that is not asked about again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Grant {
    /// The same command in the same folder with the same permission, for this thread.
    Command {
        words: Vec<String>,
        cwd: String,
        permission: Permission,
    },
    /// Patches of these files, by absolute path, for this thread.
    Files { paths: Vec<String> },
    /// Every command that begins with these words, for every thread: the server writes it to its rules.
    Prefix { words: Vec<String> },
}

/// What was granted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    commands: BTreeSet<(Vec<String>, String, Permission)>,
    files: BTreeSet<String>,
    prefixes: BTreeSet<Vec<String>>,
}

impl Grants {
    /// Remembers a grant. An empty prefix would allow everything and is ignored.
    pub fn add(&mut self, grant: Grant) {
        match grant {
            Grant::Command {
                words,
                cwd,
                permission,
            } => {
                self.commands.insert((words, cwd, permission));
            }
            Grant::Files { paths } => self.files.extend(paths),
            Grant::Prefix { words } => {
                if words.first().is_some_and(|word| !word.is_empty()) {
                    self.prefixes.insert(words);
                }
            }
        }
    }

    fn allow_command(&self, request: &CommandRequest<'_>) -> bool {
        let exact = (request.words.to_vec(), request.cwd.to_owned(), request.wants);
        let begins = |prefix: &Vec<String>| request.words.starts_with(prefix);
        self.commands.contains(&exact) || self.prefixes.iter().any(begins)
    }

    fn allow_files<'a>(&self, mut paths: impl Iterator<Item = &'a str>) -> bool {
        paths.all(|path| self.files.contains(path))
    }
}

/// Decides about a command.
pub fn judge_command(
    policy: ApprovalPolicy,
    containment: Containment,
    grants: &Grants,
    request: &CommandRequest<'_>,
) -> Verdict {
    if grants.allow_command(request) {
        return Verdict::Run(request.wants);
    }
    // Where nothing contains a command, leaving the sandbox is no step beyond what the user chose.
    let leaves = request.wants == Permission::Unsandboxed && containment == Containment::Sandboxed;
    match (policy, request.class) {
        (ApprovalPolicy::Untrusted, CommandClass::Safe) if !leaves => Verdict::Run(Permission::Sandboxed),
        (ApprovalPolicy::Untrusted, _) => Verdict::Ask,
        (ApprovalPolicy::OnRequest, CommandClass::Dangerous) => Verdict::Ask,
        (ApprovalPolicy::OnRequest, _) if leaves => Verdict::Ask,
        (ApprovalPolicy::OnRequest, _) => Verdict::Run(Permission::Sandboxed),
        (ApprovalPolicy::Never, _) if leaves => Verdict::Refuse(
            "The command was not run: it asks to leave the sandbox, and the approval policy is `never`. \
             Do it without `require_escalated`, or tell the user what you would need.",
        ),
        (ApprovalPolicy::Never, CommandClass::Dangerous) if containment == Containment::Sandboxed => {
            Verdict::Refuse(
                "The command was not run: it may destroy data, and the approval policy is `never`. \
             Find a way that does not need it.",
            )
        }
        (ApprovalPolicy::Never, _) => Verdict::Run(Permission::Sandboxed),
    }
}

/// Decides about a patch of the files at `paths` (absolute).
pub fn judge_patch<'a>(
    policy: ApprovalPolicy,
    grants: &Grants,
    writable: bool,
    paths: impl Iterator<Item = &'a str>,
) -> Verdict {
    let permission = if writable {
        Permission::Sandboxed
    } else {
        Permission::Unsandboxed
    };
    if grants.allow_files(paths) {
        return Verdict::Run(permission);
    }
    match policy {
        ApprovalPolicy::Untrusted => Verdict::Ask,
        ApprovalPolicy::OnRequest | ApprovalPolicy::Never if writable => Verdict::Run(permission),
        ApprovalPolicy::OnRequest => Verdict::Ask,
        ApprovalPolicy::Never => Verdict::Refuse(
            "The patch was not applied: it writes where the sandbox does not allow it, and the approval policy is \
             `never`.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn judge(
        policy: ApprovalPolicy,
        containment: Containment,
        grants: &Grants,
        class: CommandClass,
        wants: Permission,
    ) -> Verdict {
        let words = words("git push origin");
        let request = CommandRequest {
            words: &words,
            cwd: "/w",
            class,
            wants,
        };
        judge_command(policy, containment, grants, &request)
    }

    #[test]
    fn the_policy_decides_what_is_asked() {
        use ApprovalPolicy::*;
        use CommandClass::*;
        use Permission::{Sandboxed, Unsandboxed};
        let run = Verdict::Run(Sandboxed);
        for (policy, class, wants, verdict) in [
            (Untrusted, Safe, Sandboxed, Some(&run)),
            (Untrusted, Safe, Unsandboxed, None),
            (Untrusted, Unknown, Sandboxed, None),
            (OnRequest, Unknown, Sandboxed, Some(&run)),
            (OnRequest, Safe, Unsandboxed, None),
            (OnRequest, Dangerous, Sandboxed, None),
            (Never, Unknown, Sandboxed, Some(&run)),
        ] {
            let is = judge(policy, Containment::Sandboxed, &Grants::default(), class, wants);
            assert_eq!(
                &is,
                verdict.unwrap_or(&Verdict::Ask),
                "{policy:?} {class:?} {wants:?}"
            );
        }
        for (class, wants) in [(Safe, Unsandboxed), (Dangerous, Sandboxed)] {
            let is = judge(Never, Containment::Sandboxed, &Grants::default(), class, wants);
            assert!(matches!(is, Verdict::Refuse(_)), "{class:?} {wants:?}: {is:?}");
            assert_eq!(
                judge(Never, Containment::None, &Grants::default(), class, wants),
                run
            );
        }
    }

    #[test]
    fn a_grant_covers_the_same_command_and_nothing_more() {
        let mut grants = Grants::default();
        let grant = |text: &str, cwd: &str, permission| Grant::Command {
            words: words(text),
            cwd: cwd.into(),
            permission,
        };
        let ask = |grants: &Grants, wants| {
            judge(
                ApprovalPolicy::OnRequest,
                Containment::Sandboxed,
                grants,
                CommandClass::Dangerous,
                wants,
            )
        };
        grants.add(grant("git push", "/w", Permission::Sandboxed));
        grants.add(grant("git push origin", "/elsewhere", Permission::Sandboxed));
        assert_eq!(ask(&grants, Permission::Sandboxed), Verdict::Ask);
        grants.add(grant("git push origin", "/w", Permission::Sandboxed));
        assert_eq!(
            ask(&grants, Permission::Sandboxed),
            Verdict::Run(Permission::Sandboxed)
        );
        assert_eq!(ask(&grants, Permission::Unsandboxed), Verdict::Ask);
    }

    #[test]
    fn a_prefix_covers_what_begins_with_its_words() {
        let ask = |prefix: &str| {
            let mut grants = Grants::default();
            grants.add(Grant::Prefix { words: words(prefix) });
            judge(
                ApprovalPolicy::OnRequest,
                Containment::Sandboxed,
                &grants,
                CommandClass::Unknown,
                Permission::Unsandboxed,
            )
        };
        assert_eq!(ask("git push"), Verdict::Run(Permission::Unsandboxed));
        assert_eq!(ask("git pu"), Verdict::Ask);
        assert_eq!(ask("git push origin main"), Verdict::Ask);
        assert_eq!(ask(""), Verdict::Ask);
    }

    #[test]
    fn a_patch_is_asked_about_unless_every_file_of_it_was_granted() {
        let mut grants = Grants::default();
        let judge = |grants: &Grants, policy, writable| {
            judge_patch(policy, grants, writable, ["/a", "/b"].into_iter())
        };
        assert_eq!(
            judge(&grants, ApprovalPolicy::OnRequest, true),
            Verdict::Run(Permission::Sandboxed)
        );
        assert_eq!(judge(&grants, ApprovalPolicy::Untrusted, true), Verdict::Ask);
        assert!(matches!(
            judge(&grants, ApprovalPolicy::Never, false),
            Verdict::Refuse(_)
        ));
        grants.add(Grant::Files {
            paths: vec!["/a".into()],
        });
        assert_eq!(judge(&grants, ApprovalPolicy::OnRequest, false), Verdict::Ask);
        grants.add(Grant::Files {
            paths: vec!["/b".into()],
        });
        assert_eq!(
            judge(&grants, ApprovalPolicy::OnRequest, false),
            Verdict::Run(Permission::Unsandboxed)
        );
    }
}
