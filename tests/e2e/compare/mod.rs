//! The same conversations with the official app-server and with ours: every difference is listed and justified.
//!
//! `CODEX_COMPARE=NAME[,NAME]` runs only these conversations, and prints what both said (with `--nocapture`).

mod align;
mod conversations;
mod listed;
mod normal;
mod schema;
mod several;
mod threads;
mod tools;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use codex_testkit::{AppServer, Direction, Local, official, require};
use serde_json::{Value, json};

use self::{
    align::{Difference, differences},
    conversations::{Conversation, TURNS},
    listed::Listed,
    normal::{Names, Said},
    schema::Schema,
    several::{Meeting, SEVERAL},
    threads::THREADS,
    tools::{TOOLS, TOOLS_OF_TWO},
};
use crate::serving::{Serving, Whose};

/// Names the conversations to run.
const ONLY: &str = "CODEX_COMPARE";

/// How many conversations are had at a time. Most of the time is spent in waiting for retries and commands.
const AT_A_TIME: usize = 4;

/// How often a conversation is had again in which messages stood in another place than usual, or a status of a thread
/// was said by the official server alone. It leaves some orders to chance, and says now and then twice that a thread is
/// unloaded; what happens once in a hundred runs is in no list, and what is in our nature shows again.
const AGAIN_MAX: usize = 2;

type Transcript = Vec<(Direction, Value)>;

#[derive(Clone, Copy)]
enum Kind {
    Alone(Conversation),
    Together(Meeting),
}

/// What was said in a conversation to and by one server.
struct Had {
    transcripts: Vec<Transcript>,
    said: Vec<Said>,
}

/// What a conversation has come to.
struct Compared {
    name: &'static str,
    differences: Vec<Difference>,
    /// What does not fit the schema.
    unfit: Vec<String>,
    /// What is to be printed: why it was had again, and what both have said if that is wanted.
    text: String,
}

impl Compared {
    /// The differences that are not listed.
    fn unlisted<'a>(&'a self, listed: &'a [Listed]) -> impl Iterator<Item = &'a Difference> {
        let is_listed = |it: &Difference| {
            listed
                .iter()
                .any(|entry| entry.covers(self.name, &it.place).is_some())
        };
        self.differences.iter().filter(move |it| !is_listed(it))
    }

    /// Whether nothing is wrong but what may be the official server's chance.
    fn may_be_chance(&self, listed: &[Listed]) -> bool {
        let is_chance = |place: &str| place.starts_with('~') || place.starts_with("- thread/status/changed");
        let mut unlisted = self.unlisted(listed).peekable();
        self.unfit.is_empty() && unlisted.peek().is_some() && unlisted.all(|it| is_chance(&it.place))
    }
}

fn conversations() -> Vec<(&'static str, Kind)> {
    let alone = TURNS
        .iter()
        .chain(THREADS)
        .chain(TOOLS)
        .map(|it| (it.0, Kind::Alone(it.1)));
    let together = SEVERAL
        .iter()
        .chain(TOOLS_OF_TWO)
        .map(|it| (it.0, Kind::Together(it.1)));
    alone.chain(together).collect()
}

/// What both need: the working directory's files.
fn furnish(work: PathBuf) {
    fs::write(work.join("notes.txt"), "first\nold\nlast\n").unwrap();
}

/// Nothing that was sent before is still on its way.
fn settle(server: &mut AppServer) {
    server.call("thread/loaded/list", json!({}));
}

/// The transcript without the last call, which only settled it.
fn settled(mut transcript: Transcript) -> Transcript {
    let last = transcript.last().map(|(_, answer)| answer["id"].clone());
    let last = last.unwrap_or_default();
    transcript.retain(|(_, message)| {
        message["method"].as_str() != Some("thread/loaded/list") || message["id"] != last
    });
    transcript.pop();
    transcript
}

fn have(whose: Whose, kind: Kind) -> Had {
    match kind {
        Kind::Alone(conversation) => {
            let program = match whose {
                Whose::Official => official(),
                Whose::Ours => crate::setting::CODEX.into(),
            };
            let mut local = Local::start_program(program);
            furnish(local.work());
            local.server.initialize();
            conversation(&mut local);
            settle(&mut local.server);
            let mut names = Names::new(local.home(), &local.model);
            had(local.transcripts(), &mut names)
        }
        Kind::Together(meeting) => {
            let serving = Serving::tcp(whose);
            furnish(serving.work());
            let mut clients = [AppServer::connect(&serving.url), AppServer::connect(&serving.url)];
            clients.iter_mut().for_each(|it| _ = it.initialize());
            meeting(&serving, &mut clients);
            clients.iter_mut().for_each(settle);
            let work = serving.work();
            let mut names = Names::new(work.parent().unwrap(), &serving.model);
            let transcripts = clients.iter().map(|it| it.transcript().to_vec());
            had(transcripts.collect(), &mut names)
        }
    }
}

fn had(mut transcripts: Vec<Transcript>, names: &mut Names) -> Had {
    let last = transcripts.pop().map(settled);
    transcripts.extend(last);
    let said = transcripts.iter().flat_map(|it| names.normalize(it)).collect();
    Had { transcripts, said }
}

fn compare(name: &'static str, kind: Kind, schema: &Mutex<Schema>, is_shown: bool) -> Compared {
    let (theirs, ours) = (have(Whose::Official, kind), have(Whose::Ours, kind));
    let unfit = ours
        .transcripts
        .iter()
        .flat_map(|it| schema.lock().unwrap().check(it))
        .collect();
    let mut text = String::new();
    if is_shown {
        for (whose, had) in [("official", &theirs), ("ours", &ours)] {
            writeln!(text, "== {name}: {whose}").unwrap();
            for said in &had.said {
                writeln!(text, "{}: {:.1500}", said.key, said.body.to_string()).unwrap();
            }
        }
    }
    Compared {
        name,
        differences: differences(&theirs.said, &ours.said),
        unfit,
        text,
    }
}

/// Has all of the conversations, some at a time.
fn compare_all(
    chosen: &[(&'static str, Kind)],
    listed: &[Listed],
    is_shown: bool,
) -> (Vec<Compared>, Vec<&'static str>) {
    let schema = Mutex::new(Schema::new());
    let (next, done, broken) = (
        AtomicUsize::new(0),
        Mutex::new(Vec::new()),
        Mutex::new(Vec::new()),
    );
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((name, kind)) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let run = || {
                        let mut compared = compare(name, *kind, &schema, is_shown);
                        for _ in 0..AGAIN_MAX {
                            if !compared.may_be_chance(listed) {
                                break;
                            }
                            let chance: Vec<_> =
                                compared.unlisted(listed).map(|it| it.place.as_str()).collect();
                            let told = format!("{name}: had again, for these may be chance: {chance:?}\n");
                            compared = compare(name, *kind, &schema, is_shown);
                            compared.text.insert_str(0, &told);
                        }
                        compared
                    };
                    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                        Ok(compared) => done.lock().unwrap().push(compared),
                        Err(_) => broken.lock().unwrap().push(*name),
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|it| chosen.iter().position(|(name, _)| *name == it.name));
    (done, broken.into_inner().unwrap())
}

/// What is not as the list says: differences that it lacks, and entries that nothing fits any more.
fn judge(compared: &[Compared], listed: &[Listed]) -> String {
    let mut used = BTreeSet::new();
    let mut text = String::new();
    for it in compared {
        for found in &it.differences {
            let covers =
                |(index, entry): (usize, &Listed)| Some((index, entry.covers(it.name, &found.place)?));
            let by: Vec<_> = listed.iter().enumerate().filter_map(covers).collect();
            if by.is_empty() {
                writeln!(text, "{}: {}\n      {}", it.name, found.place, found.what).unwrap();
            }
            used.extend(by);
        }
        for unfit in &it.unfit {
            writeln!(text, "{}: does not fit the schema: {unfit}", it.name).unwrap();
        }
    }
    for (index, entry) in listed.iter().enumerate() {
        for (number, pattern) in entry.conversations.iter().enumerate() {
            if !entry.sometimes && !used.contains(&(index, number)) {
                writeln!(
                    text,
                    "no longer differs: {} in {pattern} ({})",
                    entry.place, entry.why
                )
                .unwrap();
            }
        }
    }
    text
}

#[test]
fn the_same_conversations_give_the_same_messages_apart_from_what_is_listed() {
    require!(Official);
    let only = std::env::var(ONLY).ok();
    let is_chosen = |name: &str| {
        only.as_deref()
            .is_none_or(|it| it.split(',').any(|it| it == name))
    };
    let chosen: Vec<_> = conversations().into_iter().filter(|it| is_chosen(it.0)).collect();
    let mut listed = listed::read();
    if only.is_some() {
        for entry in &mut listed {
            // What is listed for many conversations need not show in a few.
            entry.sometimes |= entry.conversations.iter().any(|it| it.contains('*'));
            entry.conversations.retain(|it| it.contains('*') || is_chosen(it));
        }
    }
    let (compared, broken) = compare_all(&chosen, &listed, only.is_some());
    compared.iter().for_each(|it| print!("{}", it.text));
    let text = judge(&compared, &listed);
    assert!(text.is_empty() && broken.is_empty(), "broken: {broken:?}\n{text}");
}

#[test]
fn only_what_may_be_chance_is_a_reason_to_have_a_conversation_again() {
    let compared = |places: &[&str]| Compared {
        name: "talk",
        differences: places
            .iter()
            .map(|place| Difference {
                place: (*place).to_owned(),
                what: String::new(),
            })
            .collect(),
        unfit: Vec::new(),
        text: String::new(),
    };
    let listed = [Listed {
        conversations: vec!["*".to_owned()],
        place: "- a".to_owned(),
        why: "it is meant".to_owned(),
        sometimes: false,
    }];
    let may_be_chance = |places: &[&str]| compared(places).may_be_chance(&listed);
    assert!(may_be_chance(&["- a", "~ b"]));
    assert!(may_be_chance(&["- thread/status/changed notLoaded"]));
    assert!(!may_be_chance(&["- a"]));
    assert!(!may_be_chance(&["~ b", "+ c"]));
    assert!(!may_be_chance(&["+ thread/status/changed notLoaded"]));
}

#[test]
fn a_difference_that_is_not_listed_and_an_entry_that_fits_nothing_are_told() {
    let compared = |place: &str| Compared {
        name: "talk",
        differences: vec![Difference {
            place: place.to_owned(),
            what: String::new(),
        }],
        unfit: Vec::new(),
        text: String::new(),
    };
    let listed = |conversation: &str| Listed {
        conversations: vec![conversation.to_owned()],
        place: "- turn/*".to_owned(),
        why: "it is meant".to_owned(),
        sometimes: false,
    };
    assert_eq!(judge(&[compared("- turn/started")], &[listed("*")]), "");
    assert!(judge(&[compared("- turn/started")], &[]).contains("talk: - turn/started"));
    let other = judge(&[compared("- turn/started")], &[listed("other")]);
    assert!(
        other.contains("talk: - turn/started") && other.contains("no longer differs"),
        "{other}"
    );
}
