//! Logins that ask: passwords and keyboard-interactive, against russh's own server.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
    time::Duration,
};

use codex_ssh::{
    Answer, Class, Prompt, Question, Session, Zeroizing,
    config::settings::{HostSettings, StrictHostKeyChecking},
};
use russh::{
    MethodKind, MethodSet,
    keys::{Algorithm, PrivateKey, key::safe_rng},
    server::{Auth, Config, Handle, Handler, Response, Session as ServerSession, run_stream},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::host::{Heard, connect_with, connector, refused, settings, until};

/// What the server demands.
#[derive(Clone)]
struct Demand {
    methods: Vec<MethodKind>,
    /// After the first accepted method.
    then: Vec<MethodKind>,
    /// The rounds of questions with the right answers.
    rounds: Vec<Vec<(&'static str, bool, &'static str)>>,
}

#[derive(Clone)]
struct Server {
    demand: Demand,
    round: usize,
    passed: bool,
    /// The methods that were tried.
    seen: Arc<Mutex<Vec<&'static str>>>,
    /// Set by a login.
    handle: Arc<Mutex<Option<Handle>>>,
}

fn set(methods: &[MethodKind]) -> MethodSet {
    MethodSet::from(methods)
}

impl Server {
    fn reject(&self) -> Auth {
        let methods = if self.passed {
            &self.demand.then
        } else {
            &self.demand.methods
        };
        Auth::Reject {
            proceed_with_methods: Some(set(methods)),
            partial_success: false,
        }
    }

    fn accept(&mut self) -> Auth {
        if self.passed || self.demand.then.is_empty() {
            return Auth::Accept;
        }
        self.passed = true;
        Auth::Reject {
            proceed_with_methods: Some(set(&self.demand.then)),
            partial_success: true,
        }
    }

    fn ask(&self) -> Auth {
        let prompts = &self.demand.rounds[self.round];
        let prompts = prompts
            .iter()
            .map(|(text, echo, _)| (Cow::from(*text), *echo))
            .collect::<Vec<_>>();
        Auth::Partial {
            name: "a name".into(),
            instructions: format!("round {}", self.round).into(),
            prompts: prompts.into(),
        }
    }
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, russh::Error> {
        self.seen.lock().unwrap().push("none");
        Ok(self.reject())
    }

    async fn auth_succeeded(&mut self, session: &mut ServerSession) -> Result<(), russh::Error> {
        *self.handle.lock().unwrap() = Some(session.handle());
        Ok(())
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        self.seen.lock().unwrap().push("password");
        Ok(if password == "right" {
            self.accept()
        } else {
            self.reject()
        })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(response) = response else {
            self.seen.lock().unwrap().push("keyboard-interactive");
            self.round = 0;
            let now = if self.passed {
                &self.demand.then
            } else {
                &self.demand.methods
            };
            let offered = now.contains(&MethodKind::KeyboardInteractive);
            return Ok(if offered { self.ask() } else { self.reject() });
        };
        let given: Vec<Vec<u8>> = response.map(|it| it.to_vec()).collect();
        let right: Vec<Vec<u8>> = self.demand.rounds[self.round]
            .iter()
            .map(|(_, _, it)| it.as_bytes().to_vec())
            .collect();
        if given != right {
            return Ok(self.reject());
        }
        self.round += 1;
        Ok(if self.round < self.demand.rounds.len() {
            self.ask()
        } else {
            self.accept()
        })
    }
}

struct Running {
    settings: HostSettings,
    handle: Arc<Mutex<Option<Handle>>>,
    seen: Arc<Mutex<Vec<&'static str>>>,
    _tasks: JoinSet<()>,
}

async fn start(demand: Demand) -> Running {
    start_at(0, demand).await
}

async fn start_at(port: u16, demand: Demand) -> Running {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut settings = settings(listener.local_addr().unwrap().port());
    settings.strict_host_key_checking = StrictHostKeyChecking::Off;
    let config = Arc::new(Config {
        keys: vec![PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap()],
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        ..Config::default()
    });
    let (seen, handle) = (Arc::default(), Arc::default());
    let server = Server {
        demand,
        round: 0,
        passed: false,
        seen: Arc::clone(&seen),
        handle: Arc::clone(&handle),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(session) = run_stream(Arc::clone(&config), socket, server.clone()).await {
                let _ = session.await;
            }
        }
    });
    Running {
        settings,
        handle,
        seen,
        _tasks: tasks,
    }
}

fn secrets(texts: &[&str]) -> Answer {
    Answer::Secrets(
        texts
            .iter()
            .map(|text| Zeroizing::new((*text).to_owned()))
            .collect(),
    )
}

async fn connect(
    running: &Running,
    answer: impl FnMut(&Question) -> Answer,
) -> (Result<Session, codex_ssh::ConnectError>, Heard) {
    connect_with(&connector(), vec![running.settings.clone()], answer).await
}

#[tokio::test]
async fn a_password_is_asked_again_when_wrong_and_three_times_at_most() {
    let demand = Demand {
        methods: vec![MethodKind::Password],
        then: Vec::new(),
        rounds: Vec::new(),
    };
    let running = start(demand).await;
    let (session, heard) = connect(&running, |question| match question {
        Question::Password { attempt: 2, .. } => secrets(&["right"]),
        _ => secrets(&["wrong"]),
    })
    .await;
    session.unwrap();
    assert_eq!(heard.questions.len(), 2);

    let (result, heard) = connect(&running, |_| secrets(&["secret word"])).await;
    let error = refused(result);
    assert_eq!((error.class(), heard.questions.len()), (Class::Unauthorized, 3));
    assert!(!error.to_string().contains("secret word") && !format!("{error:?}").contains("secret word"));
    let tried: Vec<&str> = error.tried().iter().map(|it| it.method).collect();
    assert_eq!(
        tried,
        ["keyboard-interactive", "password", "password", "password"]
    );
    assert!(
        error.to_string().ends_with("the server accepts password"),
        "{error}"
    );

    let (result, _) = connect(&running, |_| Answer::Refuse).await;
    assert_eq!(refused(result).class(), Class::Cancelled);
}

#[tokio::test]
async fn a_password_that_was_taken_serves_the_next_connection_to_the_same_account_only() {
    for (method, rounds) in [
        (MethodKind::Password, Vec::new()),
        (
            MethodKind::KeyboardInteractive,
            vec![vec![("Password: ", false, "right")]],
        ),
    ] {
        let demand = || Demand {
            methods: vec![method],
            then: Vec::new(),
            rounds: rounds.clone(),
        };
        let (one, other) = (start(demand()).await, start(demand()).await);
        let connector = connector();
        let right = |_: &Question| secrets(&["right"]);
        let mut asked = Vec::new();
        for running in [&one, &one, &other] {
            let hops = vec![running.settings.clone()];
            let (session, heard) = connect_with(&connector, hops, right).await;
            session.unwrap();
            asked.push(heard.questions.len());
        }
        assert_eq!(asked, [1, 0, 1], "{method:?}");
    }
}

#[tokio::test]
async fn a_remembered_password_that_is_refused_is_forgotten_and_the_user_is_asked() {
    let demand = |password: &'static str| Demand {
        methods: vec![MethodKind::KeyboardInteractive],
        then: Vec::new(),
        rounds: vec![vec![("Password: ", false, password)]],
    };
    let connector = connector();
    let before = start(demand("old")).await;
    let settings = before.settings.clone();
    let (session, _) = connect_with(&connector, vec![settings.clone()], |_| secrets(&["old"])).await;
    drop((session.unwrap(), before));
    until("the port is free", || {
        std::net::TcpListener::bind(("127.0.0.1", settings.port)).is_ok()
    })
    .await;
    let after = start_at(settings.port, demand("new")).await;
    for questions in [1, 0] {
        let hops = vec![after.settings.clone()];
        let (session, heard) = connect_with(&connector, hops, |_| secrets(&["new"])).await;
        session.unwrap();
        assert_eq!(heard.questions.len(), questions);
    }
    let tried = after.seen.lock().unwrap().len();
    assert_eq!(tried, 3, "the old one is tried once");
}

#[tokio::test]
async fn keyboard_interactive_has_any_number_of_prompts_and_rounds() {
    let rounds = vec![
        vec![("Password: ", false, "right"), ("Token: ", true, "123456")],
        vec![],
        vec![("Again: ", false, "yes")],
    ];
    let methods = vec![MethodKind::KeyboardInteractive];
    let running = start(Demand {
        methods,
        then: Vec::new(),
        rounds,
    })
    .await;
    let (session, heard) = connect(&running, |question| match question {
        Question::KeyboardInteractive { prompts, .. } if prompts.len() == 2 => secrets(&["right", "123456"]),
        _ => secrets(&["yes"]),
    })
    .await;
    session.unwrap();
    let Question::KeyboardInteractive {
        name,
        instructions,
        prompts,
        ..
    } = &heard.questions[0]
    else {
        panic!("{:?}", heard.questions);
    };
    assert_eq!((name.as_str(), instructions.as_str()), ("a name", "round 0"));
    let expected = [("Password: ", false), ("Token: ", true)];
    assert_eq!(
        *prompts,
        expected.map(|(text, echo)| Prompt {
            text: text.to_owned(),
            echo
        })
    );
    assert_eq!(heard.questions.len(), 2, "the round without prompts asks nothing");
    assert_eq!(heard.notices, ["a name\nround 1"]);

    let (result, heard) = connect(&running, |question| match question {
        Question::KeyboardInteractive { prompts, .. } => secrets(&vec!["wrong"; prompts.len()]),
        other => panic!("{other:?}"),
    })
    .await;
    assert_eq!(refused(result).class(), Class::Unauthorized);
    assert_eq!(heard.questions.len(), 3);
}

#[tokio::test]
async fn as_many_questions_are_answered_one_by_one_as_pam_has_prompts() {
    let demand = Demand {
        methods: vec![MethodKind::KeyboardInteractive],
        then: Vec::new(),
        rounds: vec![vec![("What next? ", true, "this")]; 60],
    };
    let (session, heard) = connect(&start(demand).await, |_| secrets(&["this"])).await;
    session.unwrap();
    assert_eq!(heard.questions.len(), 60);
}

#[tokio::test]
async fn a_second_factor_follows_a_partial_success() {
    let demand = Demand {
        methods: vec![MethodKind::Password],
        then: vec![MethodKind::KeyboardInteractive],
        rounds: vec![vec![("Token: ", true, "123456")]],
    };
    let running = start(demand).await;
    let (session, heard) = connect(&running, |question| match question {
        Question::Password { .. } => secrets(&["right"]),
        _ => secrets(&["123456"]),
    })
    .await;
    session.unwrap();
    let [
        Question::Password { attempt: 1, .. },
        Question::KeyboardInteractive { .. },
    ] = heard.questions.as_slice()
    else {
        panic!("{:?}", heard.questions);
    };
}

#[tokio::test]
async fn batch_mode_asks_nothing_and_an_untrusted_host_gets_no_password() {
    let demand = Demand {
        methods: vec![MethodKind::Password],
        then: Vec::new(),
        rounds: Vec::new(),
    };
    let mut running = start(demand).await;
    running.settings.batch_mode = true;
    let (result, heard) = connect(&running, |_| secrets(&["right"])).await;
    assert_eq!(refused(result).class(), Class::Unauthorized);
    assert!(heard.questions.is_empty());
    assert_eq!(*running.seen.lock().unwrap(), ["none"]);

    running.settings.batch_mode = false;
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("known_hosts");
    let other = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
    let line = format!("* {}\n", other.public_key().to_openssh().unwrap());
    std::fs::write(&known, line).unwrap();
    running.settings.user_known_hosts_files = vec![known];
    let (result, heard) = connect(&running, |_| secrets(&["right"])).await;
    assert_eq!(refused(result).class(), Class::Unauthorized);
    assert!(heard.questions.is_empty(), "{:?}", heard.questions);
    assert_eq!(*running.seen.lock().unwrap(), ["none", "none"]);
}

#[tokio::test]
async fn a_server_that_goes_while_the_user_types_is_reported() {
    let rounds = vec![vec![("Token: ", true, "123456")]];
    let methods = vec![MethodKind::KeyboardInteractive];
    let running = start(Demand {
        methods,
        then: Vec::new(),
        rounds,
    })
    .await;
    let mut settings = running.settings.clone();
    let (listener, server) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), settings.port);
    settings.port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    let (sender, mut events) = tokio::sync::mpsc::channel(16);
    let route = codex_ssh::Route { hops: vec![settings] };
    let connector = connector();
    let listen = async {
        let mut open = Vec::new();
        while let Some(event) = events.recv().await {
            if let codex_ssh::Event::Question { answer, .. } = event {
                // The user takes their time, and the server does not wait.
                open.push(answer);
                tasks.abort_all();
            }
        }
    };
    let both = async { tokio::join!(connector.connect(&route, sender), listen).0 };
    let result = tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("the end is noticed");
    let error = refused(result);
    assert!(
        error.to_string().contains("the server closed the connection"),
        "{error}"
    );
}

#[tokio::test]
async fn channels_that_the_server_opens_are_refused() {
    let demand = Demand {
        methods: vec![MethodKind::Password],
        then: Vec::new(),
        rounds: Vec::new(),
    };
    let running = start(demand).await;
    let (session, _) = connect(&running, |_| secrets(&["right"])).await;
    let session = session.unwrap();
    let handle = running.handle.lock().unwrap().take().unwrap();
    let opened = [
        handle.channel_open_agent().await.is_ok(),
        handle.channel_open_session().await.is_ok(),
        handle
            .channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 1)
            .await
            .is_ok(),
        handle.channel_open_direct_streamlocal("/run/agent").await.is_ok(),
        handle
            .channel_open_forwarded_tcpip("127.0.0.1", 22, "127.0.0.1", 1)
            .await
            .is_ok(),
        handle
            .channel_open_forwarded_streamlocal("/run/agent")
            .await
            .is_ok(),
        handle.channel_open_x11("127.0.0.1", 6000).await.is_ok(),
    ];
    assert_eq!(opened, [false; 7]);
    assert!(
        session.ping(Duration::from_secs(20)).await.is_ok(),
        "the session goes on"
    );
}
