//! The loop on a terminal that is a parser: what is really written, and when.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use codex_hosts::{HostEvent, HostId};
use codex_protocol::{ServerNotification, v2};
use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::{
    app::Start,
    terminal::Tty,
    testing::{changed, ready, start, turn},
    theme::Theme,
};

/// What was written so far, shared with the test.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn screen(&self) -> vt100::Parser {
        let mut parser = blank_screen();
        parser.process(self.text().as_bytes());
        parser
    }
}

fn blank_screen() -> vt100::Parser {
    let size = |it| std::num::NonZero::new(it).unwrap();
    vt100::Parser::new(size(24), size(80), 0)
}

/// Keys that come when the test sends them.
struct Script {
    keys: mpsc::Receiver<TerminalEvent>,
    early: VecDeque<TerminalEvent>,
}

impl EventSource for Script {
    async fn next(&mut self) -> Option<io::Result<TerminalEvent>> {
        match self.early.pop_front() {
            Some(event) => Some(Ok(event)),
            None => self.keys.recv().await.map(Ok),
        }
    }

    fn pause(&mut self) {}

    fn resume(&mut self) {}
}

struct Desk {
    written: Written,
    keys: mpsc::Sender<TerminalEvent>,
    events: mpsc::Sender<Event>,
    effects: mpsc::Receiver<Effect>,
    tasks: JoinSet<Result<(), RunError>>,
}

impl Desk {
    fn new(theme: Theme) -> Desk {
        let written = Written::default();
        let terminal = Terminal::new(written.clone(), (80, 24), Tty::Absent, false).unwrap();
        let (keys, script) = mpsc::channel(16);
        let (events, from_world) = mpsc::channel(64);
        let (to_world, effects) = mpsc::channel(64);
        let connect = vec![HostId::from("devbox")];
        let app = App::new(
            Start {
                theme,
                connect,
                ..start(&["devbox"])
            },
            now(),
        );
        let script = Script {
            keys: script,
            early: VecDeque::new(),
        };
        let outside = Outside {
            events: from_world,
            effects: to_world,
        };
        let mut tasks = JoinSet::new();
        let local = run_on(app, terminal, script, Signals::Silent, outside);
        tasks.spawn(local);
        Desk {
            written,
            keys,
            events,
            effects,
            tasks,
        }
    }

    async fn key(&self, code: KeyCode, modifiers: KeyModifiers) {
        self.keys
            .send(TerminalEvent::Key(KeyEvent::new(code, modifiers)))
            .await
            .unwrap();
    }

    async fn event(&self, event: Event) {
        self.events.send(event).await.unwrap();
    }

    /// Lets everything that is due happen. The clock is paused: it only moves when all tasks wait.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    async fn quit(mut self) -> String {
        self.key(KeyCode::Char('c'), KeyModifiers::CONTROL).await;
        self.key(KeyCode::Char('c'), KeyModifiers::CONTROL).await;
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
        self.written.text()
    }

    async fn make_ready(&self) {
        let server: v2::InitializeResponse =
            serde_json::from_value(json!({"userAgent": "codex/0.169.0"})).unwrap();
        self.event(Event::Initialized("devbox".into(), server)).await;
        let status = ready(now());
        self.event(Event::Host("devbox".into(), HostEvent::StatusChanged(status)))
            .await;
    }
}

fn notification(method: &str, params: serde_json::Value) -> Event {
    let params = serde_json::value::to_raw_value(&params).unwrap();
    Event::Notification("devbox".into(), ServerNotification::parse(method, Some(&params)))
}

#[tokio::test(start_paused = true)]
async fn what_is_drawn_is_on_the_screen_and_the_terminal_is_given_back() {
    let desk = Desk::new(Theme::ansi());
    desk.make_ready().await;
    desk.key(KeyCode::Char('h'), KeyModifiers::NONE).await;
    desk.key(KeyCode::Char('i'), KeyModifiers::NONE).await;
    desk.settle().await;
    let parser = desk.written.screen();
    let screen = parser.screen();
    assert!(screen.alternate_screen() && screen.bracketed_paste());
    assert!(screen.contents().contains("› hi"), "{}", screen.contents());
    assert_eq!(
        screen.cursor_position().1,
        27,
        "the cursor stands behind the draft"
    );
    assert!(!screen.hide_cursor());
    desk.key(KeyCode::Char('u'), KeyModifiers::CONTROL).await;
    let written = desk.quit().await;
    let mut parser = blank_screen();
    parser.process(written.as_bytes());
    let screen = parser.screen();
    assert!(!screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor());
    assert!(written.contains("\x1b[?1004l"), "focus events are off");
    assert!(written.ends_with("\x1b[23;0t"), "the title is restored last");
}

#[tokio::test(start_paused = true)]
async fn every_frame_is_one_synchronized_update() {
    let desk = Desk::new(Theme::ansi());
    desk.make_ready().await;
    desk.settle().await;
    let written = desk.quit().await;
    let begins = written.matches("\x1b[?2026h").count();
    // One more end: leaving makes sure that none is open.
    assert_eq!(begins + 1, written.matches("\x1b[?2026l").count());
    assert!(0 < begins);
}

#[tokio::test(start_paused = true)]
async fn without_colour_no_colour_is_ever_written() {
    let desk = Desk::new(Theme::plain());
    desk.make_ready().await;
    desk.event(notification(
        "turn/started",
        changed("t1", turn("u1", "inProgress", json!([]))),
    ))
    .await;
    let item = json!({"type": "agentMessage", "id": "a1", "text": "# head\n`code`"});
    desk.event(notification(
        "item/completed",
        json!({"threadId": "t1", "turnId": "u1", "item": item}),
    ))
    .await;
    desk.key(KeyCode::F(1), KeyModifiers::NONE).await;
    desk.settle().await;
    desk.key(KeyCode::Esc, KeyModifiers::NONE).await;
    let written = desk.quit().await;
    for sequence in written.split("\x1b[").skip(1) {
        let Some((parameters, _)) = sequence
            .split_once('m')
            .filter(|(it, _)| it.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'))
        else {
            continue;
        };
        for parameter in parameters.split(';').filter_map(|it| it.parse::<u16>().ok()) {
            let is_colour = matches!(parameter, 30..=38 | 40..=48 | 58 | 90..=107);
            assert!(!is_colour, "SGR {parameters}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_sequence_of_a_remote_reaches_the_terminal() {
    const HOSTILE: &str = "\x1b]0;pwned\x07\x1b[2J\x1b[?1049l\u{9b}31m\x1bPq\x1b\\evil";
    let desk = Desk::new(Theme::ansi());
    desk.make_ready().await;
    let thread =
        json!({"id": "t1", "name": HOSTILE, "preview": HOSTILE, "cwd": HOSTILE, "status": {"type": "idle"}});
    desk.event(notification("thread/started", json!({"thread": thread})))
        .await;
    let item = json!({"type": "agentMessage", "id": "a1", "text": HOSTILE});
    desk.event(notification(
        "item/completed",
        json!({"threadId": "t1", "turnId": "u1", "item": item}),
    ))
    .await;
    desk.event(Event::Notice("devbox".into(), HOSTILE.to_owned()))
        .await;
    desk.event(notification(
        "warning",
        json!({"threadId": "t1", "message": HOSTILE}),
    ))
    .await;
    let approval = json!({"threadId": "t1", "turnId": "u1", "itemId": "c1", "command": HOSTILE, "cwd": HOSTILE, "reason": HOSTILE});
    let request = codex_protocol::ServerRequest::parse(
        "item/commandExecution/requestApproval",
        Some(&serde_json::value::to_raw_value(&approval).unwrap()),
    );
    desk.event(Event::Request(
        "devbox".into(),
        codex_protocol::Id::Integer(0),
        request,
    ))
    .await;
    desk.settle().await;
    desk.key(KeyCode::Char('y'), KeyModifiers::CONTROL).await;
    desk.settle().await;
    assert!(desk.written.screen().screen().contents().contains("evil"));
    desk.key(KeyCode::Esc, KeyModifiers::NONE).await;
    let written = desk.quit().await;
    // An approval shows the command's own text, with its escapes made visible.
    assert!(!written.contains("\x1b]0;pwned"), "only our own titles");
    assert_eq!(written.matches("\x1b[?1049l").count(), 1, "only our own leaving");
    assert!(!written.contains('\u{9b}') && !written.contains("\x1bP"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_nothing_happens() {
    let desk = Desk::new(Theme::ansi());
    desk.make_ready().await;
    desk.settle().await;
    let before = desk.written.text().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(desk.written.text().len(), before);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_events_is_few_frames() {
    let desk = Desk::new(Theme::ansi());
    desk.make_ready().await;
    desk.settle().await;
    let frames = || desk.written.text().matches("\x1b[?2026h").count();
    let before = frames();
    for index in 0..500 {
        let delta = json!({"threadId": "t1", "turnId": "u1", "itemId": "a1", "delta": format!("{index} ")});
        desk.event(notification("item/agentMessage/delta", delta)).await;
    }
    desk.settle().await;
    assert!(frames() - before <= 4, "{} frames", frames() - before);
}

/// For a person, or for tmux: `cargo test -p codex-tui -- --ignored --nocapture on_this_terminal`.
#[tokio::test]
#[ignore = "needs a terminal"]
async fn on_this_terminal() {
    let (_events, from_world) = mpsc::channel(64);
    let (to_world, _effects) = mpsc::channel(64);
    let connect = vec![HostId::from("devbox")];
    let outside = Outside {
        events: from_world,
        effects: to_world,
    };
    run(
        Start {
            theme: Theme::ansi(),
            connect,
            ..start(&["devbox"])
        },
        outside,
    )
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn effects_leave_in_order_and_the_end_of_the_outside_is_the_end() {
    let mut desk = Desk::new(Theme::ansi());
    desk.make_ready().await;
    let mut methods = Vec::new();
    while methods.len() < 3 {
        match desk.effects.recv().await.unwrap() {
            Effect::Host(..) => methods.push("connect"),
            Effect::Call(_, _, request) => methods.push(request.method()),
            _ => (),
        }
    }
    assert_eq!(methods, ["connect", "thread/list", "account/read"]);
    let Desk {
        events,
        mut tasks,
        written,
        ..
    } = desk;
    drop(events);
    tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(written.text().contains("\x1b[?1049l"));
}
