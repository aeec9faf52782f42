//! What was promised, and whether it is kept.

use crate::{report::Report, server::Side};

/// One line for each target.
pub(crate) fn list(report: &Report) -> String {
    let ours = |key| report.median(key, Side::Ours);
    let below = |value: Option<f64>, limit: f64| value.map(|it| it < limit);
    let at_most = |key: &str, limit: f64| report.ratio(key).map(|it| it <= limit);
    let targets = [
        ("start under 15 ms", below(ours("start"), 15.0)),
        (
            "start at most a tenth of the official one's",
            at_most("start", 0.1),
        ),
        (
            "memory after `initialize` at most a tenth",
            at_most("memory", 0.1),
        ),
        (
            "memory after ten turns at most a tenth",
            at_most("memory turns", 0.1),
        ),
        ("turn overhead at most a third", at_most("turn", 1.0 / 3.0)),
        ("program under 20 MB", below(ours("binary"), 20.0)),
        (
            "slow pipe: the connection lives, the text is whole",
            report.succeeded("pipe lived"),
        ),
        (
            "slow WebSocket: the connection lives, the text is whole",
            report.succeeded("socket lived"),
        ),
        ("5,000 threads listed in under 50 ms", below(ours("list"), 50.0)),
        (
            "last page of 500 MB in under a second",
            below(ours("resume"), 1000.0),
        ),
    ];
    let lines = targets.map(|(target, is_met)| {
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "not measured",
        };
        format!("{verdict}: {target}\n")
    });
    lines.concat()
}
