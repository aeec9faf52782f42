//! Which host somebody may have meant with a name that nobody knows.

/// More suggestions than these help nobody.
const SUGGESTIONS_MAX: usize = 3;
/// A name may be mistyped once in every so many characters: `devbx` is `devbox`, and `gpu` is not `web`.
const CHARS_PER_MISTAKE: usize = 3;

/// A question for whoever wrote `name`, without its end: did you mean one of the names that are `known` and nearest to
/// it? `None` where it is known itself, or none is near.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut nearest: Vec<&str> = Vec::new();
    let mut least = usize::MAX;
    let typed = name.to_lowercase();
    for it in known {
        if it == name {
            return None;
        }
        let chars = typed.chars().count().max(it.chars().count());
        let distance = strsim::osa_distance(&typed, &it.to_lowercase());
        if least < distance || chars / CHARS_PER_MISTAKE < distance {
            continue;
        }
        if distance < least {
            least = distance;
            nearest.clear();
        }
        if nearest.len() < SUGGESTIONS_MAX && !nearest.contains(&it) {
            nearest.push(it);
        }
    }
    let quoted: Vec<String> = nearest.into_iter().map(|it| format!("`{it}`")).collect();
    (!quoted.is_empty()).then(|| format!("did you mean {}", quoted.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest_ones() {
        let known = ["devbox", "gpu1", "gpu2", "db", "prod-web.example.org"];
        for (typed, meant) in [
            ("devbx", Some("`devbox`")),
            ("devobx", Some("`devbox`")),
            ("DevBox", Some("`devbox`")),
            ("gpu3", Some("`gpu1` or `gpu2`")),
            ("gup1", Some("`gpu1`")),
            ("prod-wbe.exmple.org", Some("`prod-web.example.org`")),
            ("devbox", None),
            ("bd", None),
            ("laptop", None),
            ("", None),
        ] {
            let question = meant.map(|it| format!("did you mean {it}"));
            assert_eq!(did_you_mean(typed, known), question, "{typed}");
        }
    }

    #[test]
    fn a_crowd_of_names_does_not_fill_the_screen() {
        let crowd: Vec<String> = (1..=9).map(|it| format!("node{it}")).collect();
        let question = did_you_mean("node0", crowd.iter().map(String::as_str));
        assert_eq!(
            question.as_deref(),
            Some("did you mean `node1` or `node2` or `node3`")
        );
    }
}
