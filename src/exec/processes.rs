//! Background processes of one owner, by id.

use std::{collections::BTreeMap, sync::Arc};

use crate::process::Process;

/// Processes of one table. When it is full, those that have ended make room; with none, a new one is refused.
pub const PROCESSES_MAX: usize = 64;

/// The id of a process in its table: a number of ours, or whatever a client has chosen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub String);

impl std::fmt::Display for ProcessId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A process that is not taken in. It is given back.
#[derive(Debug, thiserror::Error)]
pub enum ProcessesError {
    #[error("keeping a process: {PROCESSES_MAX} are running")]
    Full(Box<Process>),
    #[error("keeping a process: id `{id}` is in use")]
    Duplicate { id: ProcessId, process: Box<Process> },
}

/// The table. Dropping it kills all its processes, whoever else still looks at them.
#[derive(Debug)]
pub struct Processes {
    entries: BTreeMap<ProcessId, Arc<Process>>,
    next: u64,
}

impl Processes {
    /// `first` is the first number that is given out.
    pub fn new(first: u64) -> Self {
        Processes {
            entries: BTreeMap::new(),
            next: first,
        }
    }

    /// Whether a new process would find room.
    pub fn has_room(&self) -> bool {
        self.entries.len() < PROCESSES_MAX || self.entries.values().any(|process| process.exit().is_some())
    }

    /// Takes a process in under a new number.
    pub fn insert(&mut self, process: Process) -> Result<(ProcessId, Arc<Process>), ProcessesError> {
        loop {
            let id = ProcessId(self.next.to_string());
            self.next += 1;
            if !self.entries.contains_key(&id) {
                return self.insert_as(id.clone(), process).map(|process| (id, process));
            }
        }
    }

    /// Takes a process in under a given id.
    pub fn insert_as(&mut self, id: ProcessId, process: Process) -> Result<Arc<Process>, ProcessesError> {
        if self
            .entries
            .get(&id)
            .is_some_and(|process| process.exit().is_none())
        {
            return Err(ProcessesError::Duplicate {
                id,
                process: Box::new(process),
            });
        }
        if self.entries.len() >= PROCESSES_MAX {
            self.entries.retain(|_, process| process.exit().is_none());
        }
        if self.entries.len() >= PROCESSES_MAX {
            return Err(ProcessesError::Full(Box::new(process)));
        }
        let process = Arc::new(process);
        self.entries.insert(id, process.clone());
        Ok(process)
    }

    pub fn get(&self, id: &ProcessId) -> Option<&Arc<Process>> {
        self.entries.get(id)
    }

    /// Gives a process up, running or not. Whoever holds the last reference ends it.
    pub fn remove(&mut self, id: &ProcessId) -> Option<Arc<Process>> {
        self.entries.remove(id)
    }

    /// Returns all, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&ProcessId, &Arc<Process>)> {
        self.entries.iter()
    }

    /// Drops those that have ended and whose output has been taken by their owner.
    pub fn forget_ended(&mut self) {
        self.entries.retain(|_, process| process.exit().is_none());
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.entries.values().for_each(|process| process.kill());
    }
}
