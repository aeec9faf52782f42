//! Which requests of one peer wait for which. Pure.
//!
//! A request claims what it touches. It starts when no earlier request that has not ended conflicts with it;
//! everything else runs side by side. Since a request only ever waits for earlier ones, none waits for ever.

use std::path::{Path, PathBuf};

/// How a request touches what it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Beside others that only look.
    Shared,
    /// Alone.
    Exclusive,
}

#[derive(Clone, Debug, PartialEq)]
enum Key {
    Global(&'static str),
    Thread(String),
    Process(String),
    Path(PathBuf),
}

/// What a request touches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope(Vec<(Key, Access)>);

impl Scope {
    /// Nothing that matters to others: the request never waits.
    pub fn free() -> Scope {
        Scope::default()
    }

    /// One part of the server, named for instance `config`.
    pub fn global(part: &'static str, access: Access) -> Scope {
        Scope(vec![(Key::Global(part), access)])
    }

    /// A thread; requests of one thread reach its owner in the order in which they came.
    pub fn thread(id: impl Into<String>) -> Scope {
        Scope(vec![(Key::Thread(id.into()), Access::Exclusive)])
    }

    /// A thread, to look at it only.
    pub fn thread_shared(id: impl Into<String>) -> Scope {
        Scope(vec![(Key::Thread(id.into()), Access::Shared)])
    }

    /// A process of `command/exec` or `process/spawn`.
    pub fn process(id: impl Into<String>) -> Scope {
        Scope(vec![(Key::Process(id.into()), Access::Exclusive)])
    }

    /// A file, or a directory with everything in it.
    pub fn path(path: impl AsRef<Path>, access: Access) -> Scope {
        Scope(vec![(Key::Path(path.as_ref().to_owned()), access)])
    }

    /// Both.
    pub fn and(mut self, other: Scope) -> Scope {
        self.0.extend(other.0);
        self
    }

    fn conflicts(&self, other: &Scope) -> bool {
        let overlaps = |one: &Key, other: &Key| match (one, other) {
            (Key::Path(one), Key::Path(other)) => one.starts_with(other) || other.starts_with(one),
            _ => one == other,
        };
        self.0.iter().any(|(key, access)| {
            other.0.iter().any(|(theirs, their_access)| {
                (*access == Access::Exclusive || *their_access == Access::Exclusive) && overlaps(key, theirs)
            })
        })
    }
}

/// Names a request in a [`Line`].
pub(crate) type Ticket = u64;

/// The requests of one peer that have not ended, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Line {
    next: Ticket,
    requests: Vec<Queued>,
}

#[derive(Debug)]
struct Queued {
    ticket: Ticket,
    scope: Scope,
    started: bool,
}

impl Line {
    /// Puts a request at the end of the line. Drain [`poll_start`](Self::poll_start) afterwards.
    pub(crate) fn enter(&mut self, scope: Scope) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        self.requests.push(Queued {
            ticket,
            scope,
            started: false,
        });
        ticket
    }

    /// The request has ended, or need not be waited for any more; idempotent. Drain
    /// [`poll_start`](Self::poll_start) afterwards.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.requests.retain(|it| it.ticket != ticket);
    }

    /// The next request that may start; each is named once.
    pub(crate) fn poll_start(&mut self) -> Option<Ticket> {
        let may_start = |at: usize| {
            let it = &self.requests[at];
            !it.started
                && self.requests[..at]
                    .iter()
                    .all(|earlier| !earlier.scope.conflicts(&it.scope))
        };
        let at = (0..self.requests.len()).find(|at| may_start(*at))?;
        self.requests[at].started = true;
        Some(self.requests[at].ticket)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Access::{Exclusive, Shared};

    fn scope() -> impl Strategy<Value = Scope> {
        let access = || prop_oneof![Just(Shared), Just(Exclusive)];
        let path = prop_oneof![Just("/a"), Just("/a/b"), Just("/a/c"), Just("/ab"), Just("/")];
        let one = prop_oneof![
            Just(Scope::free()),
            access().prop_map(|it| Scope::global("config", it)),
            (0u8..3).prop_map(|it| Scope::thread(it.to_string())),
            (0u8..3).prop_map(|it| Scope::thread_shared(it.to_string())),
            (path, access()).prop_map(|(path, access)| Scope::path(path, access)),
        ];
        (one.clone(), one).prop_map(|(one, other)| one.and(other))
    }

    proptest! {
        #[test]
        fn conflicts_run_one_after_another_in_order_and_nothing_is_stuck(
            scopes in prop::collection::vec(scope(), 1..30),
            leaves in prop::collection::vec(any::<prop::sample::Index>(), 200),
        ) {
            let mut line = Line::default();
            let (mut running, mut started) = (Vec::<usize>::new(), Vec::new());
            let mut arrivals = 0..scopes.len();
            for leave in leaves {
                match arrivals.next() {
                    Some(at) => { line.enter(scopes[at].clone()); }
                    None if running.is_empty() => break,
                    None => line.leave(running.swap_remove(leave.index(running.len())) as u64),
                }
                while let Some(ticket) = line.poll_start() {
                    let at = ticket as usize;
                    prop_assert!(running.iter().all(|it| !scopes[*it].conflicts(&scopes[at])));
                    let conflicting = (0..at).filter(|it| scopes[*it].conflicts(&scopes[at]));
                    prop_assert!(conflicting.into_iter().all(|it| started.contains(&it)), "overtaken");
                    started.push(at);
                    running.push(at);
                }
            }
            prop_assert_eq!(started.len(), scopes.len(), "everything ran");
        }
    }

    #[test]
    fn looking_is_done_together_and_writing_alone() {
        let conflict = |one: &Scope, other: &Scope| one.conflicts(other);
        let read = |path: &str| Scope::path(path, Shared);
        let write = |path: &str| Scope::path(path, Exclusive);
        assert!(!conflict(&read("/a"), &read("/a")));
        assert!(
            conflict(&write("/a/b"), &read("/a")),
            "a directory is what is in it"
        );
        assert!(!conflict(&write("/ab"), &write("/a")));
        assert!(!conflict(&Scope::thread("1"), &Scope::thread("2")));
        assert!(!conflict(&Scope::free(), &Scope::free()));
    }
}
