//! A gate: something waits in front of it until the test lets it go.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::sync::{Arc, Condvar, Mutex};

/// Holds whoever waits at it until it is opened, once and for good. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    arrivals: usize,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.inner.state.lock().unwrap().open = true;
        self.inner.changed.notify_all();
    }

    /// Waits until the gate is open.
    pub fn pass(&self) {
        let mut state = self.inner.state.lock().unwrap();
        state.arrivals += 1;
        self.inner.changed.notify_all();
        while !state.open {
            state = self.inner.changed.wait(state).unwrap();
        }
    }

    /// Waits until `arrivals` have come to the gate since it was made, open or not.
    ///
    /// # Panics
    ///
    /// When they have not within [`crate::wait::DEADLINE`].
    pub fn wait_reached(&self, arrivals: usize) {
        let state = self.inner.state.lock().unwrap();
        let (state, timeout) = self
            .inner
            .changed
            .wait_timeout_while(state, crate::wait::DEADLINE, |state| state.arrivals < arrivals)
            .unwrap();
        assert!(
            !timeout.timed_out(),
            "waited for {arrivals} at a gate where {} came",
            state.arrivals
        );
    }
}
