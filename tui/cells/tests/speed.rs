//! What drawing costs. The bounds are far above what was measured, even without optimization: they fail for
//! a change of order, not for a slow machine.

use std::time::{Duration, Instant};

use serde_json::json;

use super::item;
use crate::{
    cells::{Context, render},
    text::markdown::{Options, Stream},
    theme::Theme,
};

#[track_caller]
fn within(limit: Duration, what: impl FnOnce()) {
    let start = Instant::now();
    what();
    let took = start.elapsed();
    assert!(took < limit, "took {took:?}");
}

#[test]
fn a_folded_megabyte_of_output_costs_no_more_than_counting_its_lines() {
    let output = "\u{1b}[32mok\u{1b}[0m   building module number seven of many\r\n".repeat(20_000);
    let value = item(
        json!({"type": "commandExecution", "id": "c", "command": "make", "status": "inProgress", "aggregatedOutput": output}),
    );
    let theme = Theme::ansi();
    let ctx = Context {
        width: 80,
        theme: &theme,
        expanded: false,
        live: true,
    };
    within(Duration::from_secs(2), || {
        assert_eq!((0..10).map(|_| render(&value, &ctx).len()).sum::<usize>(), 110)
    });
}

#[test]
fn a_long_message_that_streams_costs_its_last_block_per_update() {
    let paragraph = "A **paragraph** with `code` and [a link](https://example.org) in it.\n\n";
    let text = paragraph.repeat(14_000);
    let theme = Theme::ansi();
    let options = Options {
        width: 80,
        theme: &theme,
        live: true,
    };
    let mut stream = Stream::new();
    stream.update(&text, options);
    within(Duration::from_secs(5), || {
        let mut grown = text.clone();
        for _ in 0..1_000 {
            grown.push_str("and more ");
            stream.update(&grown, options);
        }
    });
}
