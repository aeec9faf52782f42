//! Questions of a login, between the words of `ssh` and those of `hosts`.

use codex_hosts::{Hop, HostKey, HostKeyQuestion, Prompt, Question, Reply, Secret};
use codex_ssh as ssh;

pub(crate) fn question(asked: ssh::Question, is_jump: bool) -> Question {
    let hop = |it: ssh::Hop| hop(it, is_jump);
    match asked {
        ssh::Question::HostKey {
            host,
            key_type,
            fingerprint,
            randomart,
            known_hosts_file,
            known,
        } => {
            let known: Vec<String> = known.iter().map(ssh::KnownKey::as_another).collect();
            let known = known.iter().flat_map(|it| it.lines());
            let randomart = randomart.lines().chain(known).map(str::to_owned).collect();
            let key = HostKeyQuestion {
                key_type,
                fingerprint,
                randomart,
                known_hosts_file,
            };
            Question::HostKey { hop: hop(host), key }
        }
        ssh::Question::UpdateHostKeys {
            host,
            added,
            removed,
            known_hosts_file,
        } => Question::UpdateHostKeys {
            hop: hop(host),
            added: keys(added),
            removed: keys(removed),
            known_hosts_file,
        },
        ssh::Question::Passphrase {
            host, key, attempt, ..
        } => Question::Passphrase {
            hop: hop(host),
            key,
            attempt,
        },
        ssh::Question::Password { host, attempt } => Question::Password {
            hop: hop(host),
            attempt,
        },
        ssh::Question::KeyboardInteractive {
            host,
            name,
            instructions,
            prompts,
        } => {
            let prompts = prompts
                .into_iter()
                .map(|it| Prompt {
                    text: it.text,
                    echo: it.echo,
                })
                .collect();
            Question::KeyboardInteractive {
                hop: hop(host),
                name,
                instructions,
                prompts,
            }
        }
    }
}

/// A hop as questions name it.
pub(crate) fn hop(it: ssh::Hop, is_jump: bool) -> Hop {
    Hop {
        alias: it.alias,
        user: it.user,
        host_name: it.host_name,
        port: it.port,
        is_jump,
    }
}

fn keys(keys: Vec<ssh::HostKey>) -> Vec<HostKey> {
    let key = |it: ssh::HostKey| HostKey {
        key_type: it.key_type,
        fingerprint: it.fingerprint,
    };
    keys.into_iter().map(key).collect()
}

pub(crate) fn answer(reply: Reply) -> ssh::Answer {
    match reply {
        Reply::Accept => ssh::Answer::Accept,
        Reply::Refuse => ssh::Answer::Refuse,
        Reply::Secrets(secrets) => {
            ssh::Answer::Secrets(secrets.into_iter().map(Secret::into_inner).collect())
        }
    }
}
