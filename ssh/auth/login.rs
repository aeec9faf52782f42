//! Carries out the plan: asks the server, the agent and the user, and writes down what was tried.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};

use russh::{
    MethodSet,
    client::{AuthResult, Handle},
    keys::{Algorithm, HashAlg, PublicKey},
};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use super::{
    agent::Agent,
    certificate,
    conversation::{Conversation, words},
    key::{Files, Private, is_security_key},
    keyring::{Keyring, Opened},
    memory::Memory,
    offers::{Holder, Offer, order},
    passwords::Passwords,
    plan::{Method, Plan, Rules, Step},
    signer::{Clock, KeySigner, Passphrases, SignError},
    unused::Keys,
};
use crate::{
    algorithms,
    ask::Report,
    client::{Client, LastWords, SERVER_CLOSED},
    config::settings::{HostSettings, IdentityAgent},
    error::{Attempt, Failure, Outcome, Words},
    event::{Hop, Stage},
    host_key::{Trust, is_short_rsa},
    limits,
    link::Gone,
    session::Closed,
};

/// What a login works with.
pub(crate) struct Login<'a> {
    pub(crate) settings: &'a HostSettings,
    pub(crate) trust: Trust,
    pub(crate) keyring: &'a Keyring,
    pub(crate) memory: &'a Arc<Memory>,
    pub(crate) passwords: &'a Passwords,
    pub(crate) report: &'a Report,
    pub(crate) gone: &'a Gone,
    pub(crate) ended: watch::Receiver<Option<Closed>>,
    pub(crate) last_words: &'a LastWords,
}

/// A login that the server has accepted.
pub(crate) struct LoggedIn {
    pub(crate) tried: Vec<Attempt>,
    /// Only the user can do it again: with an answer that holds once, or at a token.
    pub(crate) needs_user: bool,
}

/// Logs in. Says what was tried, in either case.
pub(crate) async fn login(handle: &mut Handle<Client>, login: Login<'_>) -> Result<LoggedIn, Failure> {
    let conversation = Conversation {
        report: login.report,
        gone: login.gone,
        ended: login.ended.clone(),
    };
    let hop = Hop::from(login.settings);
    let (settings, memory, trust) = (login.settings, login.memory, login.trust);
    let mut state = State::new(&login, &hop, &conversation)?;
    let mut offers = state.collect(handle).await;
    memory.promote(settings, &mut offers);
    let again: Vec<Offer> = offers.iter().filter_map(Offer::with_sha256).collect();
    offers.extend(again);
    let mut plan = Plan::new(&rules(settings, trust), offers.len());
    for _ in 0..limits::AUTH_STEPS {
        let step = plan.next();
        if step == Step::GiveUp {
            break;
        }
        let told = state.step(handle, step, &offers).await?;
        if let (Step::Offer(number), Told::Accepted | Told::Partial(_)) = (step, &told)
            && let Some(offer) = offers.get(number)
        {
            state.taken(memory, offer).await;
        }
        match told {
            Told::Accepted => {
                return Ok(LoggedIn {
                    tried: state.tried,
                    needs_user: state.needs_user,
                });
            }
            Told::Skipped => plan.skipped(),
            Told::Denied { accepts, asked } => {
                plan.denied(accepts);
                if !asked && matches!(step, Step::KeyboardInteractive { .. }) {
                    plan.unasked();
                }
            }
            Told::Partial(accepts) => plan.partial(accepts),
            Told::Closed => {
                state.cut = true;
                break;
            }
        }
    }
    Err(state.give_up(&plan, &offers).await)
}

fn rules(settings: &HostSettings, trust: Trust) -> Rules {
    let asks = !settings.batch_mode && trust == Trust::Full;
    Rules {
        preferred: settings.preferred_authentications.clone(),
        public_key: settings.pubkey_authentication,
        keyboard_interactive: settings.kbd_interactive_authentication && asks,
        password: settings.password_authentication && asks,
        prompts: settings.number_of_password_prompts,
    }
}

pub(super) struct State<'a> {
    pub(super) settings: &'a HostSettings,
    pub(super) hop: &'a Hop,
    pub(super) passwords: &'a Passwords,
    pub(super) report: &'a Report,
    pub(super) conversation: &'a Conversation<'a>,
    pub(super) passphrases: Passphrases<'a>,
    /// What `PubkeyAcceptedAlgorithms` leaves.
    signatures: Vec<String>,
    agent: Option<Agent>,
    tried: Vec<Attempt>,
    /// The hash for RSA signatures, once the server was asked; SHA-1 is none.
    rsa: Option<Option<HashAlg>>,
    /// Keys that the server has refused, as opposed to those that could not be used.
    refused: Vec<PublicKey>,
    ended: watch::Receiver<Option<Closed>>,
    trust: Trust,
    last_words: &'a LastWords,
    keys: Keys,
    /// The last step gave the server something to let us in by.
    pub(super) sent: bool,
    /// See [`LoggedIn::needs_user`].
    pub(super) needs_user: bool,
    /// The connection ended.
    cut: bool,
}

/// What the server told.
pub(super) enum Told {
    Accepted,
    Denied {
        accepts: Vec<String>,
        asked: bool,
    },
    Partial(Vec<String>),
    /// Nothing was sent.
    Skipped,
    Closed,
}

impl<'a> State<'a> {
    fn new(
        login: &Login<'a>,
        hop: &'a Hop,
        conversation: &'a Conversation<'a>,
    ) -> Result<State<'a>, Failure> {
        let settings = login.settings;
        Ok(State {
            settings,
            hop,
            passwords: login.passwords,
            report: login.report,
            conversation,
            passphrases: Passphrases {
                keyring: login.keyring,
                conversation,
                hop,
                batch_mode: settings.batch_mode,
            },
            signatures: algorithms::signatures(settings.pubkey_accepted_algorithms.as_deref())?,
            agent: None,
            tried: Vec::new(),
            rsa: None,
            refused: Vec::new(),
            ended: login.ended.clone(),
            trust: login.trust,
            last_words: login.last_words,
            keys: Keys::default(),
            sent: false,
            needs_user: false,
            cut: false,
        })
    }
}

impl State<'_> {
    /// All keys, in the order to offer them.
    async fn collect(&mut self, handle: &Handle<Client>) -> Vec<Offer> {
        if !self.settings.pubkey_authentication {
            return Vec::new();
        }
        let settings = self.settings.clone();
        let files = spawn_blocking(move || Files::load(&settings))
            .await
            .unwrap_or_default();
        for notice in &files.notices {
            self.report.notice(notice.clone()).await;
        }
        if let IdentityAgent::Socket(socket) = &self.settings.identity_agent {
            match Agent::connect(socket, handle.agent_session_binding()).await {
                Ok(agent) => self.agent = Some(agent),
                Err(why) => {
                    let what = format!("agent {}", socket.display());
                    self.note(Method::PublicKey, what, Outcome::Skipped(why));
                }
            }
        }
        if let Some(Agent {
            unknown: unknown @ 1..,
            ..
        }) = self.agent
        {
            let why = "of types that this client does not know".to_owned();
            self.note(
                Method::PublicKey,
                format!("{unknown} keys of the agent"),
                Outcome::Skipped(why),
            );
        }
        let keys = self
            .agent
            .as_ref()
            .map(|it| it.keys.as_slice())
            .unwrap_or_default();
        let held = |public: &PublicKey| keys.iter().any(|it| it.public.key_data() == public.key_data());
        let empty = match (&self.agent, &self.settings.identity_agent) {
            (Some(agent), IdentityAgent::Socket(socket)) if agent.keys.is_empty() && agent.unknown == 0 => {
                Some(socket.as_path())
            }
            _ => None,
        };
        self.keys = Keys::new(&files, held, empty);
        order(&files, keys, self.settings.identities_only)
    }

    /// A key that the server has taken is the first one the next time, and goes to the agent where that is wanted.
    async fn taken(&mut self, memory: &Arc<Memory>, offer: &Offer) {
        let key = offer.public.as_ref();
        self.needs_user |= key.is_some_and(|it| is_security_key(&it.algorithm()));
        let (memory, own, taken) = (Arc::clone(memory), self.settings.clone(), offer.clone());
        // It is an order for the next time, and nothing of this login.
        let _ = spawn_blocking(move || memory.remember(&own, &taken)).await;
        self.add_to_agent(offer).await;
    }

    async fn step(
        &mut self,
        handle: &mut Handle<Client>,
        step: Step,
        offers: &[Offer],
    ) -> Result<Told, Failure> {
        let name = match step {
            Step::Offer(_) => Method::PublicKey.name(),
            Step::KeyboardInteractive { .. } => Method::KeyboardInteractive.name(),
            Step::Password { .. } => Method::Password.name(),
            Step::Probe | Step::GiveUp => "none",
        };
        self.sent = false;
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.report
            .stage(Stage::Authenticating {
                method: name.to_owned(),
            })
            .await;
        match step {
            Step::Offer(number) => match offers.get(number) {
                Some(offer) => self.offer(handle, offer).await,
                None => Ok(Told::Skipped),
            },
            Step::KeyboardInteractive { .. } => self.interactive(handle).await,
            Step::Password { attempt } => self.password(handle, attempt).await,
            Step::Probe | Step::GiveUp => {
                let user = self.settings.user.as_str();
                let sent = self
                    .bounded("asking for the methods", handle.authenticate_none(user))
                    .await?;
                Ok(told(sent))
            }
        }
    }

    async fn offer(&mut self, handle: &mut Handle<Client>, offer: &Offer) -> Result<Told, Failure> {
        let mut offer = offer.clone();
        if let Holder::File(identity) = &offer.holder
            && let Private::Unusable(why) = &identity.private
        {
            return Ok(self.skip(&offer, why.clone()));
        }
        if offer.public.is_none() {
            match self.passphrases.open(&offer).await? {
                Opened::Key(key) => offer.public = Some(key.public_key().clone()),
                Opened::Not(why) => return Ok(self.skip(&offer, why)),
            }
        }
        let Some(public) = offer.public.clone() else {
            return Ok(Told::Skipped);
        };
        if let Some(why) = offer.certificate.as_ref().and_then(certificate::unusable) {
            return Ok(self.skip(&offer, why.to_owned()));
        }
        if offer.again && !self.refused.contains(&public) {
            return Ok(Told::Skipped);
        }
        if is_short_rsa(&public, self.settings.host_keys.required_rsa_size) {
            return Ok(self.skip(&offer, "RequiredRSASize excludes it".to_owned()));
        }
        let sha512 = Ok(Some(HashAlg::Sha512));
        let hash = match self.hash(handle, &offer, &public).await? {
            hash if offer.again && hash == sha512 && self.accepts("rsa-sha2-256") => Some(HashAlg::Sha256),
            // There is nothing to do in another way.
            _ if offer.again => return Ok(Told::Skipped),
            Ok(hash) => hash,
            Err(why) => return Ok(self.skip(&offer, why)),
        };
        let clock = Clock::start(self.settings.patience(limits::AUTH_STEP));
        let mut signer = KeySigner {
            offer: &offer,
            agent: self.agent.as_mut(),
            passphrases: self.passphrases,
            clock: &clock,
            signed: false,
        };
        let user = self.settings.user.as_str();
        let certificate = offer.certificate.clone();
        let sent = async {
            match certificate {
                Some(it) => {
                    handle
                        .authenticate_certificate_with(user, it, hash, &mut signer)
                        .await
                }
                None => {
                    handle
                        .authenticate_publickey_with(user, public, hash, &mut signer)
                        .await
                }
            }
        };
        let sent = tokio::select! {
            sent = sent => sent,
            () = clock.expired() => return Err(self.timed_out("waiting for the answer to a key", clock.limit())),
        };
        self.sent = signer.signed;
        let told = match sent {
            Ok(result) => told(Ok(result)),
            Err(SignError::Gone) => Told::Closed,
            Err(SignError::Failed(failure)) => return Err(*failure),
            // The server has accepted the key and counts no failure for the missing signature.
            Err(SignError::Skipped(why)) => return Ok(self.skip(&offer, why)),
        };
        self.judged(&offer, &told);
        Ok(told)
    }

    /// Notes what the server said to a key.
    fn judged(&mut self, offer: &Offer, told: &Told) {
        let mut remark = None;
        if let Told::Denied { .. } = told {
            self.refused.extend(offer.public.clone());
            let (user, now) = (self.settings.user.as_str(), SystemTime::now());
            let certificate = offer.certificate.as_ref();
            remark = certificate.and_then(|it| certificate::remark(it, user, now));
        }
        let remark = remark.map_or(String::new(), |it| format!(" ({it})"));
        self.write_down(Method::PublicKey, offer.describe() + &remark, told);
    }

    /// Whether `PubkeyAcceptedAlgorithms` leaves this one.
    fn accepts(&self, signature: &str) -> bool {
        self.signatures.iter().any(|it| it == signature)
    }

    /// The hash for RSA signatures, `None` for other keys; an error says why the key cannot be used.
    async fn hash(
        &mut self,
        handle: &Handle<Client>,
        offer: &Offer,
        public: &PublicKey,
    ) -> Result<Result<Option<HashAlg>, String>, Failure> {
        let excluded = || Err("PubkeyAcceptedAlgorithms excludes it".to_owned());
        let accepted = |name: &str| self.accepts(name);
        let algorithm = public.algorithm();
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            return Ok(match accepted(algorithm.as_str()) {
                true => Ok(None),
                false if is_security_key(&algorithm) => excluded(),
                false if !offer.is_rsa() && algorithms::is_known(algorithm.as_str()) => excluded(),
                false => Err(format!("this client does not know {}", algorithm.as_str())),
            });
        }
        let own = match (accepted("rsa-sha2-512"), accepted("rsa-sha2-256")) {
            (true, _) => HashAlg::Sha512,
            (false, true) => HashAlg::Sha256,
            (false, false) => return Ok(excluded()),
        };
        let best = match self.rsa {
            Some(best) => best,
            None => {
                let asked = self.bounded("asking for RSA signatures", handle.best_supported_rsa_hash());
                match asked.await? {
                    // A server that does not tell is tried with the better one.
                    Ok(best) => best.unwrap_or(Some(own)),
                    Err(_) => Some(own),
                }
            }
        };
        self.rsa = Some(best);
        Ok(match best {
            Some(HashAlg::Sha512) => Ok(Some(own)),
            Some(hash) if hash == own || own == HashAlg::Sha512 => Ok(Some(hash)),
            Some(_) => excluded(),
            None => Err("the server takes RSA signatures only with SHA-1".to_owned()),
        })
    }

    pub(super) async fn bounded<T>(&self, step: &str, sent: impl Future<Output = T>) -> Result<T, Failure> {
        self.within(limits::AUTH_STEP, step, sent).await
    }

    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        step: &str,
        sent: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let limit = self.settings.patience(limit);
        timeout(limit, sent)
            .await
            .map_err(|_| self.timed_out(step, limit))
    }

    fn timed_out(&self, step: &str, limit: Duration) -> Failure {
        let step = format!("logging in to {} as {}: {step}", self.hop, self.settings.user);
        Failure::TimedOut { step, limit }
    }

    fn skip(&mut self, offer: &Offer, why: String) -> Told {
        self.note(Method::PublicKey, offer.describe(), Outcome::Skipped(why));
        Told::Skipped
    }

    pub(super) fn write_down(&mut self, method: Method, what: String, told: &Told) {
        let outcome = match told {
            Told::Accepted => Outcome::Accepted,
            Told::Partial(_) => Outcome::Partial,
            Told::Denied { asked: false, .. } if method == Method::KeyboardInteractive => Outcome::Unasked,
            Told::Denied { .. } => Outcome::Denied,
            Told::Closed => Outcome::Skipped("the connection ended".to_owned()),
            Told::Skipped => return,
        };
        self.note(method, what, outcome);
    }

    fn note(&mut self, method: Method, what: String, outcome: Outcome) {
        self.tried.push(Attempt {
            method: method.name(),
            what,
            outcome,
        });
    }

    async fn give_up(mut self, plan: &Plan, offers: &[Offer]) -> Failure {
        let left = offers.iter().skip(plan.made()).filter(|it| !it.again).count();
        if left > 0 && plan.wants_keys() {
            let why = format!(
                "servers allow few tries: choose one of these {left} with IdentityFile and IdentitiesOnly"
            );
            self.note(
                Method::PublicKey,
                "the other keys".to_owned(),
                Outcome::Skipped(why),
            );
        }
        let untried = self
            .keys
            .untried(self.settings, self.trust, plan.accepts(), &self.tried);
        self.tried.extend(untried);
        let denied = self.tried.iter().any(|it| it.outcome.is_denial());
        let closing = if self.cut {
            Some(self.closing().await)
        } else {
            None
        };
        match closing {
            Some(_) if let Some(what) = self.broken() => Failure::Protocol {
                step: format!("logging in to {} as {}", self.hop, self.settings.user),
                source: what.into(),
            },
            Some(_) if self.is_illegible() => Failure::Illegible {
                step: format!("logging in to {} as {}", self.hop, self.settings.user),
                what: Words::Text,
                tried: self.tried,
            },
            // Nothing was wrong with the login itself: it may work the next time. A server that ends it on the very
            // word that was to let us in has decided: PAM's rules about accounts are asked then.
            Some(text) if !denied && text.is_empty() && !self.is_refused_at_the_end() => Failure::Closed {
                step: format!("logging in to {} as {}", self.hop, self.settings.user),
                text,
            },
            closing => Failure::Unauthorized {
                user: self.settings.user.clone(),
                tried: self.tried,
                accepts: plan.accepts().to_vec(),
                closing,
            },
        }
    }

    /// What is wrong with what the server sent, where this side ended the connection for it.
    fn broken(&self) -> Option<String> {
        match &*self.ended.borrow() {
            Some(Closed::Broken(what)) => Some(what.clone()),
            _ => None,
        }
    }

    fn is_illegible(&self) -> bool {
        matches!(&*self.ended.borrow(), Some(Closed::Illegible))
    }

    /// Whether the server ended the connection, in an orderly way, on what was to let us in.
    fn is_refused_at_the_end(&self) -> bool {
        self.sent
            && match &*self.ended.borrow() {
                Some(Closed::ByServer(_)) => true,
                Some(Closed::Lost(why)) => why == SERVER_CLOSED,
                _ => false,
            }
    }

    /// The server's last words: those of its good-bye, else the text that came since the last step began. russh may
    /// tell them a little later than that it is over.
    async fn closing(&mut self) -> String {
        let text = match timeout(limits::GOODBYE, self.ended.wait_for(Option::is_some)).await {
            Ok(Ok(closed)) => closed.as_ref().map(words).unwrap_or_default(),
            _ => String::new(),
        };
        // A text from before, such as sshd's `Banner`, says nothing about a link that broke.
        if !text.is_empty() || !self.is_refused_at_the_end() {
            return text;
        }
        let text = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone().unwrap_or_default()
    }
}

pub(super) fn told(result: Result<AuthResult, russh::Error>) -> Told {
    match result {
        Ok(AuthResult::Success) => Told::Accepted,
        Ok(AuthResult::Failure {
            remaining_methods,
            partial_success,
        }) => denied(&remaining_methods, partial_success, false),
        Err(_) => Told::Closed,
    }
}

pub(super) fn denied(remaining: &MethodSet, partial: bool, asked: bool) -> Told {
    let accepts: Vec<String> = remaining.iter().map(String::from).collect();
    match (accepts.is_empty(), partial) {
        // russh's way to say that the server has hung up.
        (true, false) => Told::Closed,
        (_, true) => Told::Partial(accepts),
        (_, false) => Told::Denied { accepts, asked },
    }
}
