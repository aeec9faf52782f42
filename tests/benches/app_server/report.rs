//! What was measured, as a table and as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::server::Side;

/// A figure: its key, what a reader is told, and how it is shown.
struct Figure {
    key: &'static str,
    label: &'static str,
    unit: Unit,
}

#[derive(Clone, Copy)]
enum Unit {
    Milliseconds,
    Seconds,
    Megabytes,
    PerSecond,
    Count,
    /// Each value is 1 or 0; how many are 1 is shown.
    Successes,
}

const FIGURES: [Figure; 27] = [
    figure("binary", "size of the program", Unit::Megabytes),
    figure("start", "start to the answer to `initialize`", Unit::Milliseconds),
    figure("start fresh", "the same, in a fresh home", Unit::Milliseconds),
    figure("memory", "memory after `initialize` (VmRSS)", Unit::Megabytes),
    figure("memory anonymous", "of it its own (RssAnon)", Unit::Megabytes),
    figure("memory turns", "memory after ten turns (VmRSS)", Unit::Megabytes),
    figure(
        "memory turns anonymous",
        "of it its own (RssAnon)",
        Unit::Megabytes,
    ),
    figure("turn answer", "`turn/start` to its answer", Unit::Milliseconds),
    figure(
        "turn",
        "`turn/start` to `turn/completed`, instant model",
        Unit::Milliseconds,
    ),
    figure(
        "burst",
        "60 `thread/start` at once, to the last answer",
        Unit::Milliseconds,
    ),
    figure("burst refused", "of them refused", Unit::Count),
    figure(
        "flood model",
        "20,000 deltas: the model alone, deltas",
        Unit::PerSecond,
    ),
    figure("flood", "20,000 deltas to a fast reader, deltas", Unit::PerSecond),
    figure("flood messages", "messages that carried them", Unit::Count),
    figure("flood memory", "most memory meanwhile (VmHWM)", Unit::Megabytes),
    figure(
        "pipe lived",
        "the same at 256 kbit/s over a pipe: arrived whole",
        Unit::Successes,
    ),
    figure("pipe", "to `turn/completed`", Unit::Seconds),
    figure("pipe lost", "until the connection was lost", Unit::Seconds),
    figure("pipe memory", "most memory meanwhile (VmHWM)", Unit::Megabytes),
    figure(
        "socket lived",
        "the same at 256 kbit/s over a WebSocket: arrived whole",
        Unit::Successes,
    ),
    figure("socket", "to `turn/completed`", Unit::Seconds),
    figure("socket lost", "until the connection was lost", Unit::Seconds),
    figure("socket memory", "most memory meanwhile (VmHWM)", Unit::Megabytes),
    figure(
        "list",
        "first 100 of 5,000 threads, first list of a process",
        Unit::Milliseconds,
    ),
    figure("list again", "the same, second list", Unit::Milliseconds),
    figure("resume", "last page of a thread of 500 MB", Unit::Milliseconds),
    figure("resume memory", "most memory meanwhile (VmHWM)", Unit::Megabytes),
];

const fn figure(key: &'static str, label: &'static str, unit: Unit) -> Figure {
    Figure { key, label, unit }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
            Unit::Megabytes => "MB",
            Unit::PerSecond => "/s",
            Unit::Count | Unit::Successes => "",
        }
    }

    fn show(self, value: f64) -> String {
        let digits = match self {
            Unit::Count | Unit::PerSecond | Unit::Successes => 0,
            Unit::Milliseconds | Unit::Seconds | Unit::Megabytes if 100.0 <= value => 0,
            Unit::Milliseconds | Unit::Seconds | Unit::Megabytes => 1,
        };
        format!("{value:.digits$}")
    }

    /// The median, and the least and the greatest value where they differ as shown.
    fn summary(self, values: &[f64]) -> String {
        if let Unit::Successes = self {
            return format!("{} of {}", values.iter().sum::<f64>(), values.len());
        }
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let [middle, least, greatest] = [median(values), least, greatest].map(|it| self.show(it));
        let text = format!("{middle} {}", self.name());
        let text = text.trim_end();
        match least == greatest {
            true => text.to_owned(),
            false => format!("{text} ({least} – {greatest})"),
        }
    }
}

/// All values by figure.
pub(crate) struct Report {
    values: BTreeMap<&'static str, [Vec<f64>; 2]>,
}

impl Report {
    pub(crate) fn new() -> Report {
        Report {
            values: BTreeMap::new(),
        }
    }

    /// Adds one value of a figure.
    pub(crate) fn record(&mut self, key: &'static str, side: Side, value: f64) {
        debug_assert!(FIGURES.iter().any(|it| it.key == key), "{key} is no figure");
        self.values.entry(key).or_default()[side as usize].push(value);
    }

    fn of(&self, key: &str, side: Side) -> &[f64] {
        self.values.get(key).map_or(&[], |sides| &sides[side as usize])
    }

    /// The median, if the figure was taken.
    pub(crate) fn median(&self, key: &str, side: Side) -> Option<f64> {
        let values = self.of(key, side);
        (!values.is_empty()).then(|| median(values))
    }

    /// Our median divided by that of the official server, if both were taken.
    pub(crate) fn ratio(&self, key: &str) -> Option<f64> {
        Some(self.median(key, Side::Ours)? / self.median(key, Side::Official)?)
    }

    /// Whether every run of ours was a success, if there were runs.
    pub(crate) fn succeeded(&self, key: &str) -> Option<bool> {
        let values = self.of(key, Side::Ours);
        (!values.is_empty()).then(|| values.iter().all(|it| *it == 1.0))
    }

    /// Medians, and the range where there is one, in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = "| | ours | official | ours / official |\n|---|---|---|---|\n".to_owned();
        for figure in &FIGURES {
            if !self.values.contains_key(figure.key) {
                continue;
            }
            let show = |side| match self.of(figure.key, side) {
                [] => "–".to_owned(),
                values => figure.unit.summary(values),
            };
            let ratio = match figure.unit {
                Unit::Count | Unit::Successes => None,
                _ => self.ratio(figure.key),
            };
            let ratio = ratio.map_or("–".to_owned(), |it| format!("{it:.3}"));
            let [ours, official] = [Side::Ours, Side::Official].map(show);
            table += &format!("| {} | {ours} | {official} | {ratio} |\n", figure.label);
        }
        table
    }

    /// Every value.
    pub(crate) fn json(&self) -> Value {
        let figures = FIGURES.iter().filter(|it| self.values.contains_key(it.key));
        let figure = |it: &Figure| {
            json!({"figure": it.key, "label": it.label, "unit": it.unit.name(),
                "ours": self.of(it.key, Side::Ours), "official": self.of(it.key, Side::Official)})
        };
        figures.map(figure).collect()
    }
}

/// The middle of the values, which are not none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}
