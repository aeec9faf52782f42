//! A user and a world for tests: keys in, events in, calls and screens out. Time is moved by hand.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use codex_hosts::{CallFailure, Host, HostEvent, HostId, Origin, Phase, Status, Ticket};
use codex_protocol::{ClientRequest, Id, Params, ServerNotification, ServerRequest};
use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend};
use serde_json::{Value, json};

use crate::{
    app::{App, Start},
    effect::Effect,
    event::Event,
    theme::Theme,
    view::{Cache, view},
};

pub(crate) struct Desk {
    pub(crate) app: App,
    pub(crate) now: Instant,
    pub(crate) effects: Vec<Effect>,
    pub(crate) cache: Cache,
}

pub(crate) fn start(hosts: &[&str]) -> Start {
    let host = |(index, name): (usize, &&str)| Host {
        id: HostId::from(*name),
        origin: Origin::Config {
            file: "/home/me/.ssh/config".into(),
            line: u32::try_from(index * 4 + 1).unwrap(),
        },
        address: Some(format!("me@{name}.example:22")),
    };
    Start {
        hosts: hosts.iter().enumerate().map(host).collect(),
        connect: Vec::new(),
        cwd: BTreeMap::new(),
        open_picker: false,
        problems: Vec::new(),
        offer: None,
        theme: Theme::plain(),
        client_version: "codex 0.1.0".to_owned(),
        run_id: "run".to_owned(),
        editor: Some("vi".to_owned()),
        in_tmux: false,
    }
}

impl Desk {
    /// With all these hosts connecting.
    pub(crate) fn connecting(hosts: &[&str]) -> Desk {
        let connect = hosts.iter().map(|it| HostId::from(*it)).collect();
        Desk::new(Start {
            connect,
            ..start(hosts)
        })
    }

    /// With all these hosts ready and their first questions answered: no threads, a login that is there.
    pub(crate) fn ready(hosts: &[&str]) -> Desk {
        let mut desk = Desk::connecting(hosts);
        for host in hosts {
            desk.make_ready(host);
        }
        desk
    }

    pub(crate) fn new(start: Start) -> Desk {
        let now = Instant::now();
        let mut effects = Vec::new();
        let mut app = App::new(start, now);
        app.begin(now, &mut effects);
        Desk {
            app,
            now,
            effects,
            cache: Cache::default(),
        }
    }

    pub(crate) fn make_ready(&mut self, host: &str) {
        self.initialized(host);
        self.status(host, ready(self.now));
        self.answer("account/read", json!({"account": {}, "requiresOpenaiAuth": true}));
        self.answer("thread/list", json!({"data": []}));
    }

    pub(crate) fn initialized(&mut self, host: &str) {
        let response = serde_json::from_value(json!({"userAgent": "codex/0.169.0 (Debian)"})).unwrap();
        self.feed(Event::Initialized(host.into(), response));
    }

    pub(crate) fn status(&mut self, host: &str, status: Status) {
        self.feed(Event::Host(host.into(), HostEvent::StatusChanged(status)));
    }

    pub(crate) fn lose(&mut self, host: &str) {
        let status = Status::Working {
            phase: Phase::Connecting,
            since: self.now,
            retry: 1,
            asking: false,
        };
        self.status(host, status);
    }

    pub(crate) fn feed(&mut self, event: Event) {
        self.app.update(self.now, event, &mut self.effects);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.feed(Event::Tick);
    }

    /// Waits so long that nobody is typing.
    pub(crate) fn rest(&mut self) {
        self.pass(Duration::from_secs(2));
    }

    pub(crate) fn notify(&mut self, host: &str, method: &str, params: Value) {
        let notification = ServerNotification::parse(method, Some(&raw(&params)));
        assert_eq!(notification.method(), method);
        self.feed(Event::Notification(host.into(), notification));
    }

    pub(crate) fn request(&mut self, host: &str, id: i64, method: &str, params: Value) {
        let request = ServerRequest::parse(method, Some(&raw(&params)));
        self.feed(Event::Request(host.into(), Id::Integer(id), request));
    }

    /// Types: `<Enter>`, `<C-c>`, `<A-Enter>` are keys, everything else is itself.
    pub(crate) fn keys(&mut self, script: &str) {
        let mut rest = script;
        while let Some(first) = rest.chars().next() {
            let named = rest
                .strip_prefix('<')
                .and_then(|it| it.split_once('>'))
                .and_then(|(name, after)| Some((named(name)?, after)));
            let (key, after) = match named {
                Some(it) => it,
                None => (KeyEvent::from(KeyCode::Char(first)), &rest[first.len_utf8()..]),
            };
            rest = after;
            self.feed(Event::Terminal(TerminalEvent::Key(key)));
        }
    }

    pub(crate) fn paste(&mut self, text: &str) {
        self.feed(Event::Terminal(TerminalEvent::Paste(text.to_owned())));
    }

    /// Takes the oldest call of this method, with its parameters as JSON.
    pub(crate) fn take_call(&mut self, method: &str) -> (HostId, Ticket, ClientRequest, Value) {
        let is_it = |it: &Effect| matches!(it, Effect::Call(_, _, request) if request.method() == method);
        let Some(index) = self.effects.iter().position(is_it) else {
            panic!("no {method} among {:?}", self.methods());
        };
        match self.effects.remove(index) {
            Effect::Call(host, ticket, request) => {
                let params = serde_json::from_str(request.params().unwrap().get()).unwrap();
                (host, ticket, request, params)
            }
            _ => unreachable!(),
        }
    }

    /// The methods of all calls that nobody took.
    pub(crate) fn methods(&self) -> Vec<&'static str> {
        let calls = self.effects.iter().filter_map(|it| match it {
            Effect::Call(_, _, request) => Some(request.method()),
            _ => None,
        });
        calls.collect()
    }

    /// Answers the oldest call of this method and gives its parameters.
    pub(crate) fn answer(&mut self, method: &str, answer: Value) -> Value {
        let (host, ticket, request, params) = self.take_call(method);
        let response = request.decode(&raw(&answer)).unwrap();
        self.feed(Event::Answered(host, ticket, Ok(response)));
        params
    }

    pub(crate) fn fail(&mut self, method: &str, failure: CallFailure) -> Value {
        let (host, ticket, _, params) = self.take_call(method);
        self.feed(Event::Answered(host, ticket, Err(failure)));
        params
    }

    /// Takes the oldest answer to a server's question.
    pub(crate) fn take_reply(&mut self) -> Option<(Id, Value)> {
        let index = self
            .effects
            .iter()
            .position(|it| matches!(it, Effect::Reply(..)))?;
        match self.effects.remove(index) {
            Effect::Reply(_, id, value) => Some((id, value)),
            _ => None,
        }
    }

    pub(crate) fn screen(&mut self, width: u16, height: u16) -> String {
        self.feed(Event::Terminal(TerminalEvent::Resize(width, height)));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        // The second frame shows what the first one reported back.
        for _ in 0..2 {
            terminal
                .draw(|frame| view(&self.app, &mut self.cache, self.now, frame))
                .unwrap();
            self.app.saw(self.cache.seen(), &mut self.effects);
        }
        let buffer = terminal.backend().buffer();
        let rows = (0..height).map(|y| {
            let row: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
            row.trim_end().to_owned()
        });
        rows.collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) {
        let screen = self.screen(100, 30);
        assert!(screen.contains(text), "no {text:?} on:\n{screen}");
    }

    #[track_caller]
    pub(crate) fn hides(&mut self, text: &str) {
        let screen = self.screen(100, 30);
        assert!(!screen.contains(text), "{text:?} on:\n{screen}");
    }

    /// A thread with this id that is open on the host.
    pub(crate) fn open_thread(&mut self, host: &str, thread: &str) {
        self.keys("hello<Enter>");
        self.answer("thread/start", opened(thread));
        let sent = self.answer("turn/start", json!({"turn": turn("u1", "inProgress", json!([]))}));
        self.notify(
            host,
            "turn/started",
            changed(thread, turn("u1", "inProgress", json!([]))),
        );
        let message = json!({"type": "userMessage", "id": "m1", "clientId": sent["clientUserMessageId"], "content": [{"type": "text", "text": "hello"}]});
        self.item(host, thread, "u1", "item/completed", message);
    }

    pub(crate) fn item(&mut self, host: &str, thread: &str, turn: &str, method: &str, item: Value) {
        self.notify(
            host,
            method,
            json!({"threadId": thread, "turnId": turn, "item": item}),
        );
    }

    pub(crate) fn end_turn(&mut self, host: &str, thread: &str, id: &str, status: &str) {
        self.notify(
            host,
            "turn/completed",
            changed(thread, turn(id, status, json!([]))),
        );
    }
}

pub(crate) fn ready(now: Instant) -> Status {
    Status::Ready {
        since: now,
        took: Duration::from_millis(420),
    }
}

pub(crate) fn refused(message: &str) -> CallFailure {
    CallFailure {
        code: Some(-32600),
        message: message.to_owned(),
        lost: false,
    }
}

pub(crate) fn lost() -> CallFailure {
    CallFailure {
        code: None,
        message: "the connection was lost".to_owned(),
        lost: true,
    }
}

pub(crate) fn opened(thread: &str) -> Value {
    json!({
        "thread": {"id": thread, "preview": "", "cwd": "/srv/app", "status": {"type": "idle"}, "updatedAt": 100},
        "model": "gpt-5.5", "modelProvider": "mock", "cwd": "/srv/app", "approvalPolicy": "on-request",
        "sandbox": {"type": "workspaceWrite"},
    })
}

pub(crate) fn turn(id: &str, status: &str, items: Value) -> Value {
    json!({"id": id, "status": status, "items": items, "durationMs": if status == "inProgress" { Value::Null } else { json!(1200) }})
}

pub(crate) fn changed(thread: &str, turn: Value) -> Value {
    json!({"threadId": thread, "turn": turn})
}

pub(crate) fn agent(id: &str, text: &str) -> Value {
    json!({"type": "agentMessage", "id": id, "text": text})
}

pub(crate) fn user(id: &str, text: &str) -> Value {
    json!({"type": "userMessage", "id": id, "content": [{"type": "text", "text": text}]})
}

fn raw(value: &Value) -> Params {
    serde_json::value::to_raw_value(value).unwrap()
}

fn named(name: &str) -> Option<KeyEvent> {
    let (modifiers, name) = match name.split_once('-') {
        Some(("C", rest)) => (KeyModifiers::CONTROL, rest),
        Some(("A", rest)) => (KeyModifiers::ALT, rest),
        Some(("S", rest)) => (KeyModifiers::SHIFT, rest),
        _ => (KeyModifiers::NONE, name),
    };
    let code = match name {
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "BackTab" => KeyCode::BackTab,
        "Backspace" => KeyCode::Backspace,
        "Delete" => KeyCode::Delete,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "Left" => KeyCode::Left,
        "Right" => KeyCode::Right,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        "PageUp" => KeyCode::PageUp,
        "PageDown" => KeyCode::PageDown,
        "F1" => KeyCode::F(1),
        "F2" => KeyCode::F(2),
        _ if name.chars().count() == 1 => KeyCode::Char(name.chars().next()?),
        _ => return None,
    };
    Some(KeyEvent::new(code, modifiers))
}
