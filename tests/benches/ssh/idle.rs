//! A hundred hosts that nobody uses: memory, processor time and wake-ups of each.

use std::{fs, path::PathBuf, thread, time::Duration};

use crate::{
    Outcome,
    report::Report,
    rig::{IDLE, Rig, Side},
    running::Running,
};

const CONNECTIONS: usize = 100;
/// What starts stay on the far side and says nothing more, as a server without work.
const COMMAND: &str = "echo; exec cat";
/// What a login leaves to be done is done by then: tokio's threads for blocking work end after 10 s.
const SETTLING: Duration = Duration::from_secs(12);
/// Four keepalives of each.
const WINDOW: Duration = Duration::from_secs(20);

/// Ours is one process with all connections, OpenSSH one process for each.
pub(crate) fn measure(rig: &Rig, _: usize, report: &mut Report) -> Outcome {
    let mut ours = Running::start(rig.ours("idle", COMMAND, &vec![IDLE.to_owned(); CONNECTIONS]))?;
    ours.line()?;
    let before = memory(&[ours.id()], "Rss:")?;
    ours.say("connect")?;
    ours.line()?;
    thread::sleep(SETTLING);
    let after = memory(&[ours.id()], "Rss:")?;
    let record = |report: &mut Report, key, side, value| report.record(key, rig.way, side, value);
    record(
        report,
        "idle memory",
        Side::Ours,
        (after - before) / CONNECTIONS as f64,
    );
    window(&[ours.id()], Side::Ours, rig, report)?;
    drop(ours);
    let mut theirs = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut running = Running::start(rig.openssh(COMMAND, IDLE))?;
        running.line()?;
        theirs.push(running);
    }
    thread::sleep(SETTLING);
    let ids: Vec<u32> = theirs.iter().map(Running::id).collect();
    // What several processes share counts once.
    let all = memory(&ids, "Pss:")?;
    record(report, "idle memory", Side::OpenSsh, all / CONNECTIONS as f64);
    window(&ids, Side::OpenSsh, rig, report)
}

fn window(ids: &[u32], side: Side, rig: &Rig, report: &mut Report) -> Outcome {
    let before = spent(ids)?;
    thread::sleep(WINDOW);
    let after = spent(ids)?;
    let share = after.nanoseconds.saturating_sub(before.nanoseconds) as f64 / WINDOW.as_nanos() as f64;
    report.record("idle processor", rig.way, side, share * 100.0);
    let wakes = after.wakes.saturating_sub(before.wakes) as f64 / WINDOW.as_secs_f64() / CONNECTIONS as f64;
    report.record("idle wakes", rig.way, side, wakes);
    Ok(())
}

/// The field of proc_pid_smaps(5) of all these processes, in kB of 1000 bytes.
fn memory(ids: &[u32], field: &str) -> Outcome<f64> {
    let mut sum = 0.0;
    for id in ids {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kibibytes = line.and_then(|it| it.trim_end_matches("kB").trim().parse::<f64>().ok());
        sum += kibibytes.ok_or_else(|| format!("no {field} of process {id}"))?;
    }
    Ok(sum * 1.024)
}

struct Spent {
    nanoseconds: u64,
    /// Voluntary context switches: each is followed by a wake-up.
    wakes: u64,
}

fn spent(ids: &[u32]) -> Outcome<Spent> {
    let mut sum = Spent {
        nanoseconds: 0,
        wakes: 0,
    };
    for id in ids {
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            let thread: PathBuf = thread?.path();
            let ran = fs::read_to_string(thread.join("schedstat"))?;
            let ran = ran.split(' ').next().and_then(|it| it.parse::<u64>().ok());
            sum.nanoseconds += ran.ok_or("no processor time in schedstat")?;
            let status = fs::read_to_string(thread.join("status"))?;
            let switches = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            let switches = switches.and_then(|it| it.trim().parse::<u64>().ok());
            sum.wakes += switches.ok_or("no voluntary_ctxt_switches")?;
        }
    }
    Ok(sum)
}
