//! Finds the processes that belong to a command, so that all of them can be ended.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
}

/// Signals everything that is in the session of `leader` or descends from it. A process that both left the
/// session and lost its parents is beyond reach; a sandbox has no such way out.
pub(crate) fn signal_session(leader: i32, signal: Signal) {
    let table = table();
    let mut targets: Vec<i32> = table
        .iter()
        .filter(|member| member.session == leader)
        .map(|member| member.pid)
        .collect();
    targets.extend(descendants(&table, leader).into_iter().map(|(pid, _)| pid));
    targets.sort_unstable();
    targets.dedup();
    signal_each(&targets, signal);
    // Where there is no process table to read, the group is what can be named.
    if table.is_empty()
        && let Some(group) = Pid::from_raw(leader)
    {
        let _ = kill_process_group(group, signal);
    }
}

/// Returns every descendant of a process with its distance: 1 for a child.
pub(crate) fn descendants(table: &[Member], ancestor: i32) -> Vec<(i32, usize)> {
    let mut found: Vec<(i32, usize)> = Vec::new();
    let mut generation = vec![ancestor];
    let mut distance = 0;
    while !generation.is_empty() && distance < table.len() {
        distance += 1;
        generation = table
            .iter()
            .filter(|member| generation.contains(&member.parent))
            .map(|member| member.pid)
            .collect();
        found.extend(generation.iter().map(|&pid| (pid, distance)));
    }
    found
}

pub(crate) fn signal_each(pids: &[i32], signal: Signal) {
    for pid in pids.iter().filter_map(|&pid| Pid::from_raw(pid)) {
        // It may have ended since the table was read.
        let _ = kill_process(pid, signal);
    }
}

/// Reads the process table (proc_pid_stat(5)). Empty where there is none.
pub(crate) fn table() -> Vec<Member> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// Zombies are left out: they have ended already.
fn parse(stat: &str) -> Option<Member> {
    // The name may contain anything, even parentheses: its end is the last one.
    let (start, rest) = stat.rsplit_once(')')?;
    let pid = start.split_once(' ')?.0.parse().ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(Member { pid, parent, session })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read_whatever_the_name_is() {
        let member = Some(Member {
            pid: 7,
            parent: 3,
            session: 5,
        });
        assert_eq!(parse("7 (a) b) S 3 4 5 0 -1"), member);
        assert_eq!(parse("7 (a) Z 3 4 5 0 -1"), None);
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn descendants_carry_their_distance_and_circles_end() {
        let table = [(2, 1), (3, 2), (4, 2), (5, 3), (9, 8), (8, 9)].map(|(pid, parent)| Member {
            pid,
            parent,
            session: 1,
        });
        assert_eq!(descendants(&table, 1), [(2, 1), (3, 2), (4, 2), (5, 3)]);
        assert!(descendants(&table, 8).len() <= table.len());
        assert!(descendants(&table, 77).is_empty());
    }
}
