//! `%` tokens and `${VARIABLES}` in values.

use sha1::{Digest as _, Sha1};

/// What `%` tokens stand for, for one host at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pairs: Vec<(char, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("%{0} is not a token here")]
    Unknown(char),
    #[error("a % stands at the end")]
    Dangling,
    #[error("${{ is not closed")]
    OpenVariable,
    #[error("the environment variable {0} is not set")]
    UnsetVariable(String),
}

/// Everything tokens are made of.
pub(crate) struct Facts<'a> {
    /// The name as it was asked for.
    pub(crate) original: &'a str,
    /// The name to connect to.
    pub(crate) host: &'a str,
    pub(crate) host_key_alias: &'a str,
    pub(crate) port: u16,
    pub(crate) user: &'a str,
    pub(crate) jump: &'a str,
    pub(crate) local_user: &'a str,
    pub(crate) local_host: &'a str,
    pub(crate) home: &'a str,
    pub(crate) uid: u32,
}

impl Tokens {
    /// The tokens that most values take: `%C %d %h %i %j %k %L %l %n %p %r %u`.
    pub(crate) fn of(facts: &Facts<'_>) -> Tokens {
        let mut tokens = Tokens::without_user(facts);
        tokens.pairs.push(('r', facts.user.to_owned()));
        tokens.pairs.push(('C', connection_hash(facts)));
        tokens
    }

    /// The same without the tokens that depend on the user: for `User` itself.
    pub(crate) fn without_user(facts: &Facts<'_>) -> Tokens {
        let short = facts.local_host.split('.').next().unwrap_or_default();
        let pairs = [
            ('L', short),
            ('d', facts.home),
            ('h', facts.host),
            ('i', &facts.uid.to_string()),
            ('j', facts.jump),
            ('k', facts.host_key_alias),
            ('l', facts.local_host),
            ('n', facts.original),
            ('p', &facts.port.to_string()),
            ('u', facts.local_user),
        ];
        Tokens {
            pairs: pairs.map(|(key, value)| (key, value.to_owned())).into(),
        }
    }

    /// Only the tokens named in `keys`.
    pub(crate) fn only(&self, keys: &str) -> Tokens {
        Tokens {
            pairs: self
                .pairs
                .iter()
                .filter(|it| keys.contains(it.0))
                .cloned()
                .collect(),
        }
    }

    /// One token alone, as `HostName` takes it.
    pub(crate) fn single(key: char, value: &str) -> Tokens {
        Tokens {
            pairs: vec![(key, value.to_owned())],
        }
    }

    /// `%` tokens only.
    pub(crate) fn expand(&self, text: &str) -> Result<String, TokenError> {
        expand(text, Some(self), None)
    }

    /// `%` tokens and `${VARIABLES}`.
    pub(crate) fn expand_all(&self, text: &str, env: Env<'_>) -> Result<String, TokenError> {
        expand(text, Some(self), Some(env))
    }
}

/// A command whose last tokens become known only when it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTemplate {
    words: Vec<String>,
    tokens: Tokens,
}

impl CommandTemplate {
    /// `late` names the tokens that [`expand`](Self::expand) will get.
    pub(crate) fn new(words: Vec<String>, tokens: Tokens, late: &str) -> Result<CommandTemplate, TokenError> {
        let template = CommandTemplate { words, tokens };
        let dummies: Vec<(char, String)> = late.chars().map(|key| (key, String::new())).collect();
        template.expand(&dummies)?;
        Ok(template)
    }

    /// The program and its arguments; a shell has no part in it.
    pub(crate) fn expand(&self, late: &[(char, String)]) -> Result<Vec<String>, TokenError> {
        let mut tokens = self.tokens.clone();
        tokens.pairs.extend_from_slice(late);
        self.words.iter().map(|word| tokens.expand(word)).collect()
    }
}

pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// `${VARIABLES}` only.
pub(crate) fn expand_variables(text: &str, env: Env<'_>) -> Result<String, TokenError> {
    expand(text, None, Some(env))
}

fn expand(text: &str, tokens: Option<&Tokens>, env: Option<Env<'_>>) -> Result<String, TokenError> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['%', '$']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let (Some(inner), Some(env)) = (rest.strip_prefix("${"), env) {
            let (name, after) = inner.split_once('}').ok_or(TokenError::OpenVariable)?;
            let value = Some(name).filter(|it| !it.is_empty()).and_then(env);
            out.push_str(&value.ok_or_else(|| TokenError::UnsetVariable(name.to_owned()))?);
            rest = after;
        } else if let (Some(inner), Some(tokens)) = (rest.strip_prefix('%'), tokens) {
            let key = inner.chars().next().ok_or(TokenError::Dangling)?;
            match tokens.pairs.iter().find(|it| it.0 == key) {
                Some((_, value)) => out.push_str(value),
                None if key == '%' => out.push('%'),
                None => return Err(TokenError::Unknown(key)),
            }
            rest = &inner[key.len_utf8()..];
        } else {
            // Both are one byte long.
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// `%C`: a short name for the connection, used in paths of sockets. Not a matter of security.
fn connection_hash(facts: &Facts<'_>) -> String {
    let mut hash = Sha1::new();
    for it in [
        facts.local_host,
        facts.host,
        &facts.port.to_string(),
        facts.user,
        facts.jump,
    ] {
        hash.update(it.as_bytes());
    }
    hash.finalize().iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts<'static> {
        Facts {
            original: "box",
            host: "box.lab",
            host_key_alias: "alias",
            port: 2222,
            user: "alice",
            jump: "bastion",
            local_user: "me",
            local_host: "desk.home",
            home: "/home/me",
            uid: 1000,
        }
    }

    #[test]
    fn tokens_stand_for_what_ssh_config_says() {
        let tokens = Tokens::of(&facts());
        for (text, expected) in [
            ("%h:%p", "box.lab:2222"),
            ("%n %r %u %i", "box alice me 1000"),
            ("%d/%k %l %L %j", "/home/me/alias desk.home desk bastion"),
            ("100%%", "100%"),
            ("a$b", "a$b"),
            ("${X}", "${X}"),
        ] {
            assert_eq!(tokens.expand(text).unwrap(), expected, "{text}");
        }
        assert_eq!(tokens.expand("%z"), Err(TokenError::Unknown('z')));
        assert_eq!(tokens.expand("%"), Err(TokenError::Dangling));
        assert_eq!(tokens.expand("%C").unwrap().len(), 40);
        assert_eq!(
            Tokens::without_user(&facts()).expand("%r"),
            Err(TokenError::Unknown('r'))
        );
    }

    #[test]
    fn variables_must_be_closed_and_set() {
        let env = |name: &str| (name == "X").then(|| "%h".to_owned());
        let tokens = Tokens::of(&facts());
        assert_eq!(tokens.expand_all("${X}-%h", &env).unwrap(), "%h-box.lab");
        assert_eq!(expand_variables("%h${X}", &env).unwrap(), "%h%h");
        assert_eq!(
            tokens.expand_all("${Y}", &env),
            Err(TokenError::UnsetVariable("Y".to_owned()))
        );
        assert_eq!(tokens.expand_all("${X", &env), Err(TokenError::OpenVariable));
    }
}
