//! Pages of turns and items, reverts, forks, the prompt.

use codex_protocol::v2::{SortDirection, TurnItemsView, TurnStatus};
use codex_threads::{ForkPoint, ItemsQuery, Record, StoreError, ThreadReader, TurnsQuery};
use serde_json::json;

use crate::build::*;

fn turn_names(reader: &ThreadReader) -> Vec<String> {
    let query = TurnsQuery {
        limit: Some(u32::MAX),
        view: Some(TurnItemsView::NotLoaded),
        ..Default::default()
    };
    let page = reader.turns(&query).unwrap();
    assert_eq!(page.problems, []);
    page.turns.into_iter().map(|turn| turn.id.0).collect()
}

fn prompt_of(reader: &ThreadReader) -> Vec<String> {
    let (items, problems) = reader.prompt().unwrap();
    assert_eq!(problems, []);
    items
        .iter()
        .map(|item| {
            format!(
                "{}{}",
                &item.item["role"].as_str().unwrap()[..1],
                item.item["turn"].as_str().unwrap()
            )
        })
        .collect()
}

/// All pages of turns, one list a page.
fn turn_pages(reader: &ThreadReader, limit: u32, direction: SortDirection) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let query = TurnsQuery {
            cursor,
            limit: Some(limit),
            direction: Some(direction.clone()),
            view: None,
        };
        let page = reader.turns(&query).unwrap();
        pages.push(page.turns.into_iter().map(|turn| turn.id.0).collect());
        cursor = page.next_cursor;
        if cursor.is_none() {
            return pages;
        }
    }
}

fn item_pages(reader: &ThreadReader, limit: u32, direction: SortDirection) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let query = ItemsQuery {
            cursor,
            limit: Some(limit),
            direction: Some(direction.clone()),
            turn: None,
        };
        let page = reader.items(&query).unwrap();
        assert!(page.items.len() <= limit as usize);
        all.extend(page.items.into_iter().map(|entry| {
            let state = if entry.completed_at_ms.is_some() {
                ""
            } else {
                " open"
            };
            format!("{}{state}", entry.item.id().unwrap())
        }));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

#[test]
fn turns_come_newest_first_in_pages_and_in_three_views() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    for name in ["t1", "t2", "t3", "t4", "t5"] {
        append(&mut log, turn(name, "out"));
    }
    let reader = store.reader(log.id()).unwrap();
    let down = turn_pages(&reader, 2, SortDirection::Descending);
    assert_eq!(down, [vec!["t5", "t4"], vec!["t3", "t2"], vec!["t1"]]);
    let up = turn_pages(&reader, 2, SortDirection::Ascending);
    assert_eq!(up, [vec!["t1", "t2"], vec!["t3", "t4"], vec!["t5"]]);
    let view = |view| {
        let query = TurnsQuery {
            limit: Some(1),
            view,
            ..Default::default()
        };
        reader.turns(&query).unwrap().turns.remove(0)
    };
    assert_eq!(ids(&view(None).items), ["t5-u", "t5-a"]);
    assert_eq!(view(None).items_view, Some(TurnItemsView::Summary));
    assert_eq!(
        ids(&view(Some(TurnItemsView::Full)).items),
        ["t5-u", "t5-c", "t5-a"]
    );
    assert_eq!(
        view(Some(TurnItemsView::Full)).items[1],
        command("t5-c", Some("out"))
    );
    let bare = view(Some(TurnItemsView::NotLoaded));
    assert_eq!((bare.items.len(), &bare.status), (0, &TurnStatus::Completed));
    assert_eq!(
        (bare.started_at, bare.completed_at, bare.duration_ms),
        (Some(NOW / 1000), Some(NOW / 1000 + 1), Some(900))
    );
}

#[test]
fn the_cursor_of_a_resume_leads_to_the_last_turn_and_a_backwards_cursor_to_its_own_page() {
    let dir = quick_dir();
    let (_store, mut log) = create(dir.path(), 1);
    assert_eq!(log.reader().unwrap().turns_cursor_at_end(), None);
    append(&mut log, turn("t1", ""));
    append(&mut log, turn("t2", ""));
    let reader = log.reader().unwrap();
    let query = TurnsQuery {
        cursor: reader.turns_cursor_at_end(),
        limit: Some(1),
        ..Default::default()
    };
    let page = reader.turns(&query).unwrap();
    assert_eq!(page.turns[0].id.0, "t2");
    append(&mut log, turn("t3", ""));
    let later = log.reader().unwrap();
    let up = TurnsQuery {
        cursor: page.backwards_cursor,
        direction: Some(SortDirection::Ascending),
        ..Default::default()
    };
    let names: Vec<_> = later
        .turns(&up)
        .unwrap()
        .turns
        .into_iter()
        .map(|turn| turn.id.0)
        .collect();
    assert_eq!(names, ["t2", "t3"]);
    let items = ItemsQuery {
        cursor: reader.items_cursor_at_end(),
        limit: Some(1),
        direction: Some(SortDirection::Descending),
        turn: None,
    };
    assert_eq!(
        reader.items(&items).unwrap().items[0].item.id().unwrap().0,
        "t2-a"
    );
}

#[test]
fn a_cursor_of_another_thread_or_kind_is_refused() {
    let dir = quick_dir();
    let (_store, mut log) = create(dir.path(), 1);
    append(&mut log, turn("t1", ""));
    let reader = log.reader().unwrap();
    let items_cursor = reader.items_cursor_at_end();
    let foreign = format!("t.at.5.{}", id(2));
    for bad in [
        Some("zzz".to_owned()),
        Some(String::new()),
        Some(foreign),
        items_cursor,
    ] {
        let text = bad.clone().unwrap();
        let error = reader
            .turns(&TurnsQuery {
                cursor: bad,
                ..Default::default()
            })
            .unwrap_err();
        assert_eq!(error.to_string(), format!("invalid cursor: {text}"));
    }
    let huge = Some("z".repeat(1 << 20));
    let error = reader
        .items(&ItemsQuery {
            cursor: huge,
            ..Default::default()
        })
        .unwrap_err();
    assert!(error.to_string().len() < 200);
}

#[test]
fn items_come_in_the_order_of_their_starts_whatever_the_page_size() {
    let dir = quick_dir();
    let (_store, mut log) = create(dir.path(), 1);
    append(&mut log, turn("t1", ""));
    append(
        &mut log,
        vec![
            turn_started("t2"),
            started("t2", command("bg", None)),
            started("t2", command("open", None)),
        ],
    );
    append(
        &mut log,
        vec![completed("t2", user("t2-u", "no start")), turn_completed("t2")],
    );
    append(&mut log, turn("t3", ""));
    append(&mut log, vec![completed("t2", command("bg", Some("late")))]);
    let mut expected = vec![
        "t1-u",
        "t1-c",
        "t1-a",
        "bg",
        "open open",
        "t2-u",
        "t3-u",
        "t3-c",
        "t3-a",
    ];
    let reader = log.reader().unwrap();
    for limit in 1..=10 {
        assert_eq!(
            item_pages(&reader, limit, SortDirection::Ascending),
            expected,
            "limit {limit}"
        );
    }
    expected.reverse();
    for limit in 1..=10 {
        assert_eq!(
            item_pages(&reader, limit, SortDirection::Descending),
            expected,
            "limit {limit}"
        );
    }
    for direction in [SortDirection::Ascending, SortDirection::Descending] {
        let query = ItemsQuery {
            turn: Some("t2".into()),
            direction: Some(direction),
            ..Default::default()
        };
        let page = reader.items(&query).unwrap();
        assert_eq!(page.items.len(), 3);
        assert!(
            page.items
                .iter()
                .any(|entry| entry.item == command("bg", Some("late")))
        );
    }
    let full = TurnsQuery {
        view: Some(TurnItemsView::Full),
        ..Default::default()
    };
    let turns = reader.turns(&full).unwrap().turns;
    assert_eq!(
        turns[1].items[0],
        command("bg", Some("late")),
        "an item that ended after its turn"
    );
}

#[test]
fn a_turn_under_way_shows_in_progress_with_its_items_in_flight() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    append(
        &mut log,
        vec![
            turn_started("t1"),
            turn_started("t2"),
            completed("t2", user("u", "hello")),
        ],
    );
    append(&mut log, vec![started("t2", command("c", None))]);
    drop(log);
    let reader = store.reader(&id(1)).unwrap();
    let turns = reader.turns(&TurnsQuery::default()).unwrap().turns;
    assert_eq!(turns[0].status, TurnStatus::InProgress);
    assert_eq!(
        turns[1].status,
        TurnStatus::Interrupted,
        "an earlier turn without an end"
    );
    assert_eq!(reader.state().active_turn(), Some(&"t2".into()));
    assert_eq!(
        reader.state().turn_of_client_message("client-u"),
        Some(&"t2".into())
    );
    let open = reader.items_in_flight().unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(
        (open[0].item.clone(), open[0].started_at_ms),
        (command("c", None), Some(NOW))
    );
}

#[test]
fn a_revert_takes_turns_prompt_and_items_away_also_when_they_were_compacted() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    append(&mut log, turn("t1", ""));
    append(&mut log, turn("t2", ""));
    append(&mut log, turn("t3", ""));
    append(
        &mut log,
        vec![Record::Compacted {
            turn: None,
            replacement: vec![json!({"role": "summary", "turn": ""})],
        }],
    );
    assert_eq!(prompt_of(&log.reader().unwrap()), ["s"]);
    let gone = log.revert_before(NOW, &"t2".into()).unwrap();
    assert_eq!(gone, ["t3".into(), "t2".into()]);
    append(&mut log, turn("t4", ""));
    for reader in [log.reader().unwrap(), {
        drop(log);
        store.reader(&id(1)).unwrap()
    }] {
        assert_eq!(turn_names(&reader), ["t4", "t1"]);
        assert_eq!(prompt_of(&reader), ["ut1", "at1", "ut4", "at4"]);
        assert_eq!(
            item_pages(&reader, 2, SortDirection::Ascending),
            ["t1-u", "t1-c", "t1-a", "t4-u", "t4-c", "t4-a"]
        );
    }
    let mut log = store.open_writer(&id(1), NOW).unwrap();
    assert!(matches!(
        log.revert_before(NOW, &"t2".into()),
        Err(StoreError::TurnNotFound { .. })
    ));
    log.revert_before(NOW, &"t1".into()).unwrap();
    assert_eq!(turn_names(&log.reader().unwrap()), [""; 0]);
    assert_eq!(log.state().preview, "");
}

#[test]
fn a_fork_holds_the_turns_up_to_its_point_and_points_into_its_own_file() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    append(
        &mut log,
        vec![Record::NameSet {
            name: Some("a name".to_owned()),
        }],
    );
    append(&mut log, turn("t1", "one"));
    append(&mut log, turn("gone", ""));
    log.revert_before(NOW, &"gone".into()).unwrap();
    append(&mut log, turn("t2", "two"));
    append(
        &mut log,
        vec![
            turn_started("t3"),
            completed("t3", user("t3-u", "three")),
            started("t3", command("c", None)),
        ],
    );
    let fork = |number, point| {
        store
            .fork(&id(1), &point, header(id(number)), NOW)
            .unwrap()
            .reader()
            .unwrap()
    };
    let through = fork(2, ForkPoint::Through("t1".into()));
    assert_eq!(turn_names(&through), ["t1"]);
    let before = fork(3, ForkPoint::Before("t3".into()));
    assert_eq!(turn_names(&before), ["t2", "t1"]);
    assert_eq!(prompt_of(&before), ["ut1", "at1", "ut2", "at2"]);
    assert_eq!(
        item_pages(&before, 2, SortDirection::Descending),
        ["t2-a", "t2-c", "t2-u", "t1-a", "t1-c", "t1-u"]
    );
    let whole = fork(4, ForkPoint::End);
    assert_eq!(turn_names(&whole), ["t3", "t2", "t1"]);
    let turns = whole.turns(&TurnsQuery::default()).unwrap().turns;
    assert_eq!(turns[0].status, TurnStatus::Interrupted);
    assert_eq!(whole.state().name, None);
    assert_eq!(whole.header().forked_from_id, Some(id(1)));
    assert_eq!(whole.summary().preview, "ask t1");
    let unknown = store.fork(&id(1), &ForkPoint::Through("no".into()), header(id(5)), NOW);
    assert!(matches!(unknown, Err(StoreError::TurnNotFound { .. })));
    assert!(matches!(store.reader(&id(5)), Err(StoreError::NotFound(_))));
}

#[test]
fn the_state_is_the_same_from_a_checkpoint_and_from_the_beginning() {
    let dir = quick_dir();
    let (store, mut log) = create(dir.path(), 1);
    append(
        &mut log,
        vec![
            Record::GoalSet(Some(json!({"objective": "ship"}))),
            Record::Archived(true),
        ],
    );
    for number in 0..200 {
        append(&mut log, turn(&format!("t{number}"), &"x".repeat(10_000)));
    }
    let text = std::fs::read_to_string(store.path_of(&id(1)).unwrap()).unwrap();
    let checkpoints = text
        .lines()
        .filter(|line| line.starts_with(r#"{"type":"checkpoint""#))
        .count();
    assert!((4..20).contains(&checkpoints), "{checkpoints}");
    let state = store.reader(&id(1)).unwrap().state().clone();
    assert_eq!(&state, log.state());
    assert_eq!(state.goal, Some(json!({"objective": "ship"})));
    assert_eq!(turn_names(&log.reader().unwrap()).len(), 200);
}
