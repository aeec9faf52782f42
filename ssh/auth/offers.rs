//! Which keys to offer, in which order. Pure.

use std::path::PathBuf;

use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use super::{
    agent::AgentKey,
    key::{Files, Identity, Private},
};

/// Who signs.
#[derive(Clone, Debug)]
pub(crate) enum Holder {
    Agent,
    File(Identity),
}

/// A key that the server may accept.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) holder: Holder,
    /// Unknown for an encrypted file of an older format without a `.pub` file beside it.
    pub(crate) public: Option<PublicKey>,
    pub(crate) certificate: Option<Certificate>,
    /// The path of the file, else the agent's comment.
    pub(crate) name: String,
    /// An RSA key that was offered before with SHA-512.
    pub(crate) again: bool,
}

impl Offer {
    /// For the list of what was tried.
    pub(crate) fn describe(&self) -> String {
        let Offer {
            name,
            certificate,
            public,
            ..
        } = self;
        let kind = if certificate.is_some() { "certificate " } else { "" };
        let hash = if self.again { " with rsa-sha2-256" } else { "" };
        match public {
            Some(public) => format!("{kind}{name} {}{hash}", public.fingerprint(HashAlg::Sha256)),
            None => format!("{kind}{name}"),
        }
    }

    /// Names the key across logins: its fingerprint, and whether its certificate is offered.
    pub(crate) fn identity(&self) -> Option<String> {
        let print = self.public.as_ref()?.fingerprint(HashAlg::Sha256);
        Some(match self.certificate {
            Some(_) => format!("{print}-certificate"),
            None => print.to_string(),
        })
    }

    pub(crate) fn file(&self) -> Option<&PathBuf> {
        match &self.holder {
            Holder::File(identity) => Some(&identity.path),
            Holder::Agent => None,
        }
    }

    /// The same key for another try with the lesser hash: sshd before 9.4 names signatures among those it knows
    /// that its own `PubkeyAcceptedAlgorithms` then refuses.
    pub(crate) fn with_sha256(&self) -> Option<Offer> {
        let is_rsa = self.public.is_some() && self.is_rsa() && self.certificate.is_none();
        is_rsa.then(|| Offer {
            again: true,
            ..self.clone()
        })
    }

    pub(crate) fn is_rsa(&self) -> bool {
        let algorithm = self.public.as_ref().map(PublicKey::algorithm);
        algorithm.is_none_or(|it| matches!(it, Algorithm::Rsa { .. }))
    }
}

/// OpenSSH's order, apart from certificates beside their keys: certificates from files, the agent's keys that files
/// name, the agent's other keys
/// (not with `IdentitiesOnly`), keys in files alone.
pub(crate) fn order(files: &Files, agent: &[AgentKey], identities_only: bool) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for (path, certificate) in &files.certificates {
        offers.extend(certified(files, agent, path, certificate));
    }
    let named = |key: &&AgentKey| {
        let identities = files.identities.iter().filter_map(|it| it.public.as_ref());
        identities.into_iter().any(|public| same(public, &key.public))
    };
    let in_files = agent.iter().filter(named);
    let others = agent.iter().filter(|key| !named(key) && !identities_only);
    for key in in_files.chain(others) {
        let offered = |it: &Offer| {
            it.certificate.as_ref() == key.certificate.as_ref()
                && it.public.as_ref().is_some_and(|public| same(public, &key.public))
        };
        if !offers.iter().any(offered) {
            offers.push(Offer {
                holder: Holder::Agent,
                public: Some(key.public.clone()),
                certificate: key.certificate.clone(),
                name: key.comment.clone(),
                again: false,
            });
        }
    }
    for identity in &files.identities {
        let public = identity.public.as_ref();
        let held = |key: &AgentKey| public.is_some_and(|it| same(it, &key.public));
        let plain = agent.iter().any(|key| key.certificate.is_none() && held(key));
        if !plain && identity.private != Private::Missing {
            offers.push(Offer {
                holder: Holder::File(identity.clone()),
                public: identity.public.clone(),
                certificate: None,
                name: identity.path.display().to_string(),
                again: false,
            });
        }
    }
    offers
}

/// A certificate is of use with the private key that it certifies.
fn certified(
    files: &Files,
    agent: &[AgentKey],
    path: &std::path::Path,
    certificate: &Certificate,
) -> Option<Offer> {
    let public = PublicKey::from(certificate.public_key().clone());
    let held = agent.iter().any(|key| same(&key.public, &public));
    let file = files.identities.iter().find(|it| {
        it.private != Private::Missing && it.public.as_ref().is_some_and(|own| same(own, &public))
    });
    let holder = match (held, file) {
        (true, _) => Holder::Agent,
        (false, Some(identity)) => Holder::File(identity.clone()),
        (false, None) => return None,
    };
    Some(Offer {
        holder,
        public: Some(public),
        certificate: Some(certificate.clone()),
        name: path.display().to_string(),
        again: false,
    })
}

fn same(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use russh::keys::{Algorithm, PrivateKey, PublicKey, key::safe_rng};

    use super::{AgentKey, Files, Identity, Private, order};

    fn key() -> PublicKey {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        key.public_key().clone()
    }

    fn file(name: &str, public: Option<&PublicKey>, private: Private) -> Identity {
        Identity {
            path: PathBuf::from(name),
            public: public.cloned(),
            private,
        }
    }

    fn held(comment: &str, public: &PublicKey) -> AgentKey {
        AgentKey {
            public: public.clone(),
            certificate: None,
            comment: comment.to_owned(),
        }
    }

    fn names(files: &[Identity], agent: &[AgentKey], only: bool) -> Vec<String> {
        let files = Files {
            identities: files.to_vec(),
            ..Files::default()
        };
        order(&files, agent, only)
            .into_iter()
            .map(|offer| offer.name)
            .collect()
    }

    #[test]
    fn keys_come_in_the_order_of_openssh() {
        let (a, b, c, d) = (key(), key(), key(), key());
        let agent = [held("agent-x", &c), held("agent-a", &a)];
        let files = [
            file("a", Some(&a), Private::Encrypted),
            file("b", Some(&b), Private::Plain),
            file("old", None, Private::Encrypted),
        ];
        assert_eq!(names(&files, &agent, false), ["agent-a", "agent-x", "b", "old"]);
        assert_eq!(names(&files, &agent, true), ["agent-a", "b", "old"]);
        assert_eq!(names(&files, &[], false), ["a", "b", "old"]);
        // A public half alone selects an agent's key and is nothing by itself.
        let public = [file("d", Some(&d), Private::Missing)];
        assert_eq!(names(&public, &[], false), [""; 0]);
        let agent = [held("agent-x", &c), held("agent-d", &d)];
        assert_eq!(names(&public, &agent, true), ["agent-d"]);
    }
}
