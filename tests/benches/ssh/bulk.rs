//! Many bytes, from the first one to the end; the login does not count.

use std::fs::File;

use crate::{
    Outcome,
    report::Report,
    rig::{Rig, Side, Way, alias, in_turn},
    running::{after_mark, after_mark_with},
};

/// MiB of one transfer: seconds, so that the end of the program does not count.
fn mebibytes(way: Way) -> u64 {
    match way {
        Way::Loopback => 256,
        Way::Delayed => 64,
    }
}

/// Remote to local. Standard output is /dev/null on both sides: what a reader costs is not measured.
pub(crate) fn download(rig: &Rig, runs: usize, report: &mut Report) -> Outcome {
    let size = mebibytes(rig.way);
    let zeros = format!("head -c {size}M /dev/zero");
    in_turn(runs, |side, counts| {
        let took = after_mark(match side {
            Side::Ours => rig.ours("download", &zeros, &[alias(0)]),
            Side::OpenSsh => rig.openssh(&format!("echo >&2; {zeros}"), &alias(0)),
        })?;
        if counts {
            let rate = (size << 20) as f64 / 1e6 / took.as_secs_f64();
            report.record("download", rig.way, side, rate);
        }
        Ok(())
    })
}

/// Local to remote, from a file with nothing in it but zeros.
pub(crate) fn upload(rig: &Rig, runs: usize, report: &mut Report) -> Outcome {
    let size = mebibytes(rig.way);
    let path = rig.home.home().join("zeros");
    File::create(&path)?.set_len(size << 20)?;
    let sink = "echo; cat > /dev/null";
    in_turn(runs, |side, counts| {
        let command = match side {
            Side::Ours => rig.ours("upload", sink, &[alias(0)]),
            Side::OpenSsh => rig.openssh(sink, &alias(0)),
        };
        let took = after_mark_with(command, File::open(&path)?)?;
        if counts {
            let rate = (size << 20) as f64 / 1e6 / took.as_secs_f64();
            report.record("upload", rig.way, side, rate);
        }
        Ok(())
    })
}
