//! What to try next. Pure: it is told what the server answered and says the next step.

use crate::limits;

/// The methods that we have, by their names in RFC 4252 and 4256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    PublicKey,
    KeyboardInteractive,
    Password,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::PublicKey => "publickey",
            Method::KeyboardInteractive => "keyboard-interactive",
            Method::Password => "password",
        }
    }
}

/// What may be tried at all.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// `PreferredAuthentications`; unknown names are skipped.
    pub(crate) preferred: Vec<String>,
    pub(crate) public_key: bool,
    pub(crate) keyboard_interactive: bool,
    pub(crate) password: bool,
    /// `NumberOfPasswordPrompts`, for each of the two methods that ask.
    pub(crate) prompts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The `none` method: it asks the server what it accepts.
    Probe,
    /// The offer with this number.
    Offer(usize),
    /// Counts from 1.
    KeyboardInteractive {
        attempt: u32,
    },
    /// Counts from 1.
    Password {
        attempt: u32,
    },
    GiveUp,
}

#[derive(Debug)]
pub(crate) struct Plan {
    methods: Vec<Method>,
    /// What the server accepts; not known before its first answer.
    accepts: Option<Vec<String>>,
    next_offer: usize,
    offers: usize,
    sent: usize,
    /// Whether the last step was an offer.
    offered: bool,
    prompts: u32,
    asked_interactive: u32,
    asked_password: u32,
}

impl Plan {
    pub(crate) fn new(rules: &Rules, offers: usize) -> Plan {
        let mut methods = Vec::new();
        for name in &rules.preferred {
            let method = match name.as_str() {
                "publickey" if rules.public_key => Method::PublicKey,
                "keyboard-interactive" if rules.keyboard_interactive => Method::KeyboardInteractive,
                "password" if rules.password => Method::Password,
                _ => continue,
            };
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        Plan {
            methods,
            accepts: None,
            next_offer: 0,
            offers,
            sent: 0,
            offered: false,
            prompts: rules.prompts,
            asked_interactive: 0,
            asked_password: 0,
        }
    }

    /// Each step is given out once.
    pub(crate) fn next(&mut self) -> Step {
        let step = self.choose();
        self.offered = matches!(step, Step::Offer(_));
        step
    }

    fn choose(&mut self) -> Step {
        for method in self.methods.clone() {
            if !self.accepted(method) {
                continue;
            }
            match method {
                Method::PublicKey
                    if self.next_offer < self.offers && self.sent < limits::PUBLIC_KEY_OFFERS =>
                {
                    self.next_offer += 1;
                    self.sent += 1;
                    return Step::Offer(self.next_offer - 1);
                }
                Method::KeyboardInteractive if self.asked_interactive < self.prompts => {
                    self.asked_interactive += 1;
                    return Step::KeyboardInteractive {
                        attempt: self.asked_interactive,
                    };
                }
                // Nobody should type a password for a server that takes none.
                Method::Password if self.accepts.is_none() => return self.probe(),
                Method::Password if self.asked_password < self.prompts => {
                    self.asked_password += 1;
                    return Step::Password {
                        attempt: self.asked_password,
                    };
                }
                _ => {}
            }
        }
        match self.accepts {
            None => self.probe(),
            Some(_) => Step::GiveUp,
        }
    }

    fn probe(&mut self) -> Step {
        // Known from here on, even if the server should not tell.
        self.accepts = Some(Vec::new());
        Step::Probe
    }

    fn accepted(&self, method: Method) -> bool {
        let accepts = self.accepts.as_ref();
        accepts.is_none_or(|names| names.iter().any(|name| name == method.name()))
    }

    /// The server refused the step, and accepts these methods.
    pub(crate) fn denied(&mut self, accepts: Vec<String>) {
        if self.offered && !accepts.iter().any(|it| it == Method::PublicKey.name()) {
            // It takes no keys, or not yet (`AuthenticationMethods password,publickey`): this one was not looked
            // at, and has its turn when keys are wanted.
            self.next_offer -= 1;
        }
        self.accepts = Some(accepts);
    }

    /// The server accepted the step and wants one of these methods besides: each starts anew.
    pub(crate) fn partial(&mut self, accepts: Vec<String>) {
        self.accepts = Some(accepts);
        self.asked_interactive = 0;
        self.asked_password = 0;
    }

    /// The last offer was not sent: the server did not count it.
    pub(crate) fn skipped(&mut self) {
        self.sent = self.sent.saturating_sub(1);
    }

    /// The server refused the exchange without a question: to start it again changes nothing.
    pub(crate) fn unasked(&mut self) {
        self.asked_interactive = self.prompts;
    }

    /// How many offers were made; the others were not.
    pub(crate) fn made(&self) -> usize {
        self.next_offer
    }

    /// Whether the server takes keys, and they may be offered: those that were not offered were too many.
    pub(crate) fn wants_keys(&self) -> bool {
        let key = Method::PublicKey;
        self.methods.contains(&key) && self.accepts().iter().any(|it| it == key.name())
    }

    pub(crate) fn accepts(&self) -> &[String] {
        self.accepts.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, Rules, Step};

    fn rules() -> Rules {
        let preferred = ["gssapi-with-mic", "publickey", "keyboard-interactive", "password"];
        Rules {
            preferred: preferred.map(str::to_owned).to_vec(),
            public_key: true,
            keyboard_interactive: true,
            password: true,
            prompts: 2,
        }
    }

    fn names(list: &str) -> Vec<String> {
        list.split(',')
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The steps of a server that denies everything and accepts `accepts`.
    fn denied(rules: &Rules, offers: usize, accepts: &str) -> Vec<Step> {
        let mut plan = Plan::new(rules, offers);
        let mut steps = Vec::new();
        while let step = plan.next()
            && step != Step::GiveUp
        {
            steps.push(step);
            plan.denied(names(accepts));
        }
        steps
    }

    #[test]
    fn only_what_the_server_accepts_is_tried_in_the_preferred_order() {
        use Step::{KeyboardInteractive as Kbd, Offer, Password, Probe};
        let all = "publickey,password,keyboard-interactive";
        let (kbd1, kbd2) = (Kbd { attempt: 1 }, Kbd { attempt: 2 });
        let (pw1, pw2) = (Password { attempt: 1 }, Password { attempt: 2 });
        for (offers, accepts, expected) in [
            (2, all, vec![Offer(0), Offer(1), kbd1, kbd2, pw1, pw2]),
            (2, "publickey", vec![Offer(0), Offer(1)]),
            (2, "password", vec![Offer(0), pw1, pw2]),
            (0, "publickey", vec![kbd1]),
            (0, "password", vec![kbd1, pw1, pw2]),
            (2, "", vec![Offer(0)]),
        ] {
            assert_eq!(denied(&rules(), offers, accepts), expected, "{offers} {accepts}");
        }
        let mut password_first = rules();
        password_first.preferred = names("password,publickey");
        assert_eq!(denied(&password_first, 1, all), [Probe, pw1, pw2, Offer(0)]);
        assert_eq!(denied(&password_first, 1, "publickey"), [Probe, Offer(0)]);
    }

    #[test]
    fn batch_mode_without_keys_only_learns_what_the_server_accepts() {
        let mut batch = rules();
        (batch.keyboard_interactive, batch.password) = (false, false);
        assert_eq!(denied(&batch, 0, "publickey,password"), [Step::Probe]);
    }

    #[test]
    fn at_most_five_keys_are_sent_and_keys_that_were_not_sent_do_not_count() {
        let mut only_keys = rules();
        only_keys.preferred = names("publickey");
        let steps = denied(&only_keys, 9, "publickey");
        assert_eq!(steps, (0..5).map(Step::Offer).collect::<Vec<_>>());

        let mut plan = Plan::new(&only_keys, 9);
        assert_eq!(plan.next(), Step::Offer(0));
        plan.skipped();
        let mut sent = 0;
        while let Step::Offer(_) = plan.next() {
            sent += 1;
            plan.denied(names("publickey"));
        }
        assert_eq!((sent, plan.made()), (5, 6));
        assert!(plan.wants_keys());

        let mut no_keys = rules();
        no_keys.preferred = names("password");
        let mut plan = Plan::new(&no_keys, 1);
        assert_eq!(plan.next(), Step::Probe);
        plan.denied(names("publickey,password"));
        assert!(!plan.wants_keys());
    }

    #[test]
    fn a_key_that_came_too_early_is_offered_again_when_keys_are_wanted() {
        let mut plan = Plan::new(&rules(), 1);
        assert_eq!(plan.next(), Step::Offer(0));
        plan.denied(names("password"));
        assert_eq!(plan.next(), Step::Password { attempt: 1 });
        plan.partial(names("publickey"));
        assert_eq!(plan.next(), Step::Offer(0));
        plan.denied(names("publickey"));
        assert_eq!(plan.next(), Step::GiveUp);
    }

    #[test]
    fn after_a_partial_success_the_methods_start_anew_and_used_keys_do_not() {
        let mut plan = Plan::new(&rules(), 2);
        assert_eq!(plan.next(), Step::Offer(0));
        plan.partial(names("publickey,keyboard-interactive"));
        assert_eq!(plan.next(), Step::Offer(1));
        plan.denied(names("publickey,keyboard-interactive"));
        assert_eq!(plan.next(), Step::KeyboardInteractive { attempt: 1 });
        plan.partial(names("keyboard-interactive"));
        assert_eq!(plan.next(), Step::KeyboardInteractive { attempt: 1 });
        plan.denied(names("keyboard-interactive"));
        plan.unasked();
        assert_eq!(plan.next(), Step::GiveUp);
    }
}
