//! What was measured and whether it is what was promised, as tables and as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::rig::{Side, Way};

/// A figure: its key, what a reader is told, its unit, and what is promised on each way.
struct Figure {
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    promised: [Option<Target>; 2],
}

/// What is promised.
#[derive(Clone, Copy)]
enum Target {
    /// Our median divided by OpenSSH's, at most.
    RatioAtMost(f64),
    /// The same, at least.
    RatioAtLeast(f64),
    /// Our median alone.
    AtMost(f64),
}

use Target::{AtMost, RatioAtLeast, RatioAtMost};

const FIGURES: [Figure; 12] = [
    figure(
        "first",
        "start of the program to the first remote byte",
        "ms",
        [Some(RatioAtMost(0.45)), Some(RatioAtMost(0.75))],
    ),
    figure(
        "many",
        "ten hosts at once, to the last one's first byte",
        "ms",
        [Some(RatioAtMost(0.75)); 2],
    ),
    figure(
        "again",
        "one more command (beside a ControlMaster)",
        "ms",
        [None, Some(RatioAtMost(0.55))],
    ),
    figure(
        "script",
        "the same by a shell that was started ahead",
        "ms",
        [Some(RatioAtMost(0.3)), Some(RatioAtMost(0.55))],
    ),
    figure(
        "jump",
        "through a jump host, to the first byte",
        "ms",
        [Some(RatioAtMost(0.8)); 2],
    ),
    figure(
        "download",
        "bulk, remote to local",
        "MB/s",
        [Some(RatioAtLeast(0.95)), Some(RatioAtLeast(0.85))],
    ),
    figure(
        "upload",
        "bulk, local to remote",
        "MB/s",
        [Some(RatioAtLeast(0.95)), Some(RatioAtLeast(0.85))],
    ),
    figure(
        "idle memory",
        "100 idle hosts: memory of each",
        "kB",
        [Some(AtMost(150.0)), None],
    ),
    figure(
        "idle processor",
        "all of them, of one core",
        "%",
        [Some(AtMost(1.0)), None],
    ),
    figure("idle wakes", "wake-ups of each a second", "", [None; 2]),
    figure(
        "ready ours",
        "`codex` to the answer to `initialize`, our server",
        "ms",
        [None; 2],
    ),
    figure(
        "ready official",
        "the same with the official server",
        "ms",
        [None; 2],
    ),
];

const fn figure(
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    promised: [Option<Target>; 2],
) -> Figure {
    Figure {
        key,
        label,
        unit,
        promised,
    }
}

impl Target {
    /// The promise, and whether it is kept.
    fn verdict(self, ours: f64, ratio: f64) -> String {
        let (text, is_met) = match self {
            RatioAtMost(most) => (format!("≤ {most}"), ratio <= most),
            RatioAtLeast(least) => (format!("≥ {least}"), ratio >= least),
            AtMost(most) => (format!("ours ≤ {most}"), ours <= most),
        };
        format!("{text}: {}", if is_met { "met" } else { "NOT MET" })
    }
}

/// All values by figure and way: ours, then OpenSSH's.
#[derive(Default)]
pub(crate) struct Report {
    values: BTreeMap<(&'static str, usize), [Vec<f64>; 2]>,
}

impl Report {
    /// Adds one value of a figure.
    pub(crate) fn record(&mut self, key: &'static str, way: Way, side: Side, value: f64) {
        debug_assert!(FIGURES.iter().any(|it| it.key == key), "{key} is no figure");
        self.values.entry((key, way as usize)).or_default()[side as usize].push(value);
    }

    /// Medians and ranges of one way in Markdown.
    pub(crate) fn table(&self, way: Way) -> String {
        let mut table = format!(
            "| {} | ours | OpenSSH | ours / OpenSSH | target |\n|---|---|---|---|---|\n",
            way.name()
        );
        for figure in &FIGURES {
            let Some([ours, theirs]) = self.values.get(&(figure.key, way as usize)) else {
                continue;
            };
            let ratio = median(ours) / median(theirs);
            let target = figure.promised[way as usize];
            let target = target.map_or("–".to_owned(), |it| it.verdict(median(ours), ratio));
            let [ours, theirs] = [ours, theirs].map(|it| summary(it, figure.unit));
            table += &format!(
                "| {} | {ours} | {theirs} | {ratio:.2} | {target} |\n",
                figure.label
            );
        }
        table
    }

    /// Every value.
    pub(crate) fn json(&self) -> Value {
        let figures = FIGURES.iter().flat_map(|figure| {
            [Way::Loopback, Way::Delayed].into_iter().filter_map(|way| {
                let [ours, theirs] = self.values.get(&(figure.key, way as usize))?;
                Some(
                    json!({"figure": figure.key, "way": way.name(), "label": figure.label,
                    "unit": figure.unit, "ours": ours, "openssh": theirs}),
                )
            })
        });
        figures.collect()
    }
}

/// The median, and the least and the greatest value where there are several.
fn summary(values: &[f64], unit: &str) -> String {
    let show = |value: f64| match value {
        100.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let text = format!("{} {unit}", show(median(values)));
    if values.len() < 2 {
        return text.trim_end().to_owned();
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({} – {})", text.trim_end(), show(least), show(greatest))
}

/// The middle of the values, which are not none.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}
