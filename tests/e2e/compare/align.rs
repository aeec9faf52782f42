//! Where two transcripts differ.

use serde_json::Value;

use super::normal::Said;

/// The longest value that is shown whole, in characters.
const SHOWN: usize = 300;

/// One place at which the servers differ.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    /// `- MESSAGE` that only the official one sends, `+ MESSAGE` that only ours does, `~ MESSAGE` that both send but
    /// not in the same place, or `MESSAGE /FIELD`.
    pub(super) place: String,
    /// What each says there.
    pub(super) what: String,
}

/// All differences, in order.
pub(super) fn differences(official: &[Said], ours: &[Said]) -> Vec<Difference> {
    let mut found = Vec::new();
    for (one, two) in moved(align(official, ours), &mut found) {
        match (one, two) {
            (Some(one), Some(two)) => fields(&one.key, "", Some(&one.body), Some(&two.body), &mut found),
            (Some(one), None) => found.push(alone('-', one)),
            (None, Some(two)) => found.push(alone('+', two)),
            (None, None) => {}
        }
    }
    found
}

/// Pairs what each has alone with the same message of the other, wherever that stands: one that is not in its place
/// is less than one that is missing. The same text is better than the same kind about the same thing.
fn moved<'a>(mut pairs: Vec<Pair<'a>>, found: &mut Vec<Difference>) -> Vec<Pair<'a>> {
    let fits: [fn(&Said, &Said) -> bool; 2] = [
        |one, two| one.key == two.key && one.body == two.body,
        |one, two| one.key == two.key && about(one) == about(two),
    ];
    for fits in fits {
        for index in 0..pairs.len() {
            let (Some(one), None) = pairs[index] else { continue };
            let other = pairs
                .iter()
                .position(|pair| matches!(pair, (None, Some(two)) if fits(one, two)));
            if let Some(other) = other {
                pairs[index].1 = pairs[other].1.take();
                found.push(alone('~', one));
            }
        }
    }
    pairs
}

/// Thread, turn and item that a message is about.
fn about(said: &Said) -> [Option<&Value>; 4] {
    ["/threadId", "/turnId", "/itemId", "/item/id"].map(|it| said.body.pointer(it))
}

fn alone(sign: char, said: &Said) -> Difference {
    Difference {
        place: format!("{sign} {}", said.key),
        what: short(Some(&said.body)),
    }
}

fn short(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn fields(key: &str, path: &str, one: Option<&Value>, two: Option<&Value>, found: &mut Vec<Difference>) {
    match (one, two) {
        (Some(Value::Object(one)), Some(Value::Object(two))) => {
            let mut names: Vec<_> = one.keys().chain(two.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                fields(
                    key,
                    &format!("{path}/{name}"),
                    one.get(name),
                    two.get(name),
                    found,
                );
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(two))) => {
            for index in 0..one.len().max(two.len()) {
                fields(
                    key,
                    &format!("{path}/{index}"),
                    one.get(index),
                    two.get(index),
                    found,
                );
            }
        }
        (one, two) if one == two => {}
        (one, two) => found.push(Difference {
            place: format!("{key} {path}"),
            what: format!("official: {}\n      ours:     {}", short(one), short(two)),
        }),
    }
}

type Pair<'a> = (Option<&'a Said>, Option<&'a Said>);

/// How much a message holds its place: of two that have changed places the lighter one has moved, whichever came
/// first. Answers and what is only bookkeeping move among the events of a turn.
fn weight(key: &str) -> usize {
    match key.split_once(' ') {
        Some((_, "result" | "error")) => 3,
        _ if key.starts_with("thread/tokenUsage/") => 4,
        _ if key.starts_with("thread/") => 5,
        _ => 7,
    }
}

/// The heaviest common order of both, and between it what only one of them has.
fn align<'a>(one: &'a [Said], two: &'a [Said]) -> Vec<Pair<'a>> {
    // common[i][j]: how heavy the messages of one[i..] and two[j..] are that can be paired.
    let mut common = vec![vec![0_usize; two.len() + 1]; one.len() + 1];
    for i in (0..one.len()).rev() {
        for j in (0..two.len()).rev() {
            common[i][j] = if one[i].key == two[j].key {
                common[i + 1][j + 1] + weight(&one[i].key)
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < one.len() || j < two.len() {
        let both = i < one.len() && j < two.len();
        if both && one[i].key == two[j].key {
            pairs.push((Some(&one[i]), Some(&two[j])));
            (i, j) = (i + 1, j + 1);
        } else if j == two.len() || (both && common[i + 1][j] >= common[i][j + 1]) {
            pairs.push((Some(&one[i]), None));
            i += 1;
        } else {
            pairs.push((None, Some(&two[j])));
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(keys: &[&str]) -> Vec<Said> {
        let said = |key: &&str| Said {
            key: (*key).to_owned(),
            body: json!({}),
        };
        keys.iter().map(said).collect()
    }

    fn places(found: &[Difference]) -> Vec<&str> {
        found.iter().map(|it| it.place.as_str()).collect()
    }

    #[test]
    fn a_message_that_one_lacks_and_one_in_another_place_are_found() {
        let found = differences(&said(&["a", "b", "c"]), &said(&["a", "c", "d"]));
        assert_eq!(places(&found), ["- b", "+ d"]);
        let found = differences(&said(&["a", "b"]), &said(&["b", "a"]));
        assert_eq!(places(&found), ["~ a"]);
        assert!(differences(&said(&["a", "b"]), &said(&["a", "b"])).is_empty());
    }

    #[test]
    fn a_field_that_differs_is_found_where_it_stands() {
        let body = |body| {
            vec![Said {
                key: "m".to_owned(),
                body,
            }]
        };
        let one = body(json!({"item": {"status": "failed", "list": [1, 2]}, "same": 1}));
        let two = body(json!({"item": {"status": "completed", "list": [1]}, "same": 1, "more": true}));
        let found = differences(&one, &two);
        assert_eq!(places(&found), ["m /item/list/1", "m /item/status", "m /more"]);
    }

    #[test]
    fn of_two_that_have_changed_places_the_answer_has_moved() {
        let (one, two) = (
            said(&["turn/start result", "turn/started"]),
            said(&["turn/started", "turn/start result"]),
        );
        assert_eq!(places(&differences(&one, &two)), ["~ turn/start result"]);
        assert_eq!(places(&differences(&two, &one)), ["~ turn/start result"]);
    }

    #[test]
    fn a_message_that_both_send_is_compared_wherever_it_stands() {
        let said = |key: &str, body: i32| Said {
            key: key.to_owned(),
            body: json!({ "body": body }),
        };
        let one = [said("a", 1), said("a", 2), said("b", 0), said("c", 0)];
        let two = [said("b", 0), said("c", 0), said("a", 2), said("a", 3)];
        assert_eq!(places(&differences(&one, &two)), ["~ a", "~ a", "a /body"]);
        assert_eq!(places(&differences(&one[1..], &two)), ["~ a", "+ a"]);
    }
}
