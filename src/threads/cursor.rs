//! Cursors of pages within one thread: a place in its log. Opaque to clients.

use codex_protocol::ThreadId;

use crate::error::StoreError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Turns,
    Items,
}

impl Scope {
    fn letter(self) -> &'static str {
        match self {
            Scope::Turns => "t",
            Scope::Items => "i",
        }
    }
}

/// A place, and whether what is there is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) place: u64,
    pub(crate) inclusive: bool,
}

impl Cursor {
    pub(crate) fn write(self, scope: Scope, thread: &ThreadId) -> String {
        let side = if self.inclusive { "at" } else { "after" };
        format!("{}.{side}.{}.{thread}", scope.letter(), self.place)
    }

    /// A cursor of another thread or of another kind of page is as bad as nonsense.
    pub(crate) fn read(
        text: Option<&str>,
        scope: Scope,
        thread: &ThreadId,
    ) -> Result<Option<Cursor>, StoreError> {
        let Some(text) = text else {
            return Ok(None);
        };
        let read = || {
            let mut parts = text.splitn(4, '.');
            let (letter, side) = (parts.next()?, parts.next()?);
            let place = parts.next()?.parse().ok()?;
            let inclusive = match side {
                "at" => true,
                "after" => false,
                _ => return None,
            };
            (letter == scope.letter() && parts.next()? == thread.0).then_some(Cursor { place, inclusive })
        };
        read().map(Some).ok_or_else(|| StoreError::invalid_cursor(text))
    }

    /// Whether this place is still to come on the way to the beginning.
    pub(crate) fn allows_down_to(&self, place: u64) -> bool {
        place < self.place || (self.inclusive && place == self.place)
    }

    /// Whether this place is still to come on the way to the end.
    pub(crate) fn allows_up_to(&self, place: u64) -> bool {
        place > self.place || (self.inclusive && place == self.place)
    }
}
