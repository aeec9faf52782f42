//! The terminal itself: its modes, what is written to it, and giving it back.

use std::{
    io::{self, BufWriter, Stdout, Write},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use crossterm::{
    Command, cursor,
    event::{
        DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
        KeyboardEnhancementFlags, PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
    },
    queue,
    style::Print,
    terminal::{
        self, BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
        SetTitle,
    },
};
use ratatui::{
    Terminal as Ratatui,
    backend::{Backend, ClearType, CrosstermBackend, WindowSize},
    buffer::Cell,
    layout::{Position, Rect, Size},
};

use crate::{
    app::{App, Seen},
    view::{self, Cache},
};

/// A frame of a large terminal is about 100 KiB: it leaves in few writes.
const BUFFER_BYTES: usize = 128 * 1024;

/// Terminals cut OSC 52 off at about 74,994 bytes of base64 (the limit of xterm and tmux): longer text
/// would be lost without a word.
pub(crate) const COPY_BYTES_MAX: usize = 74_994 / 4 * 3;

/// Set while the process's terminal is in our modes.
static ENTERED: AtomicBool = AtomicBool::new(false);
/// Set when the terminal understands the kitty keyboard protocol.
static ENHANCED: AtomicBool = AtomicBool::new(false);
static PANIC_HOOK: Once = Once::new();

/// Whether there is a real terminal whose modes must be set, or only a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tty {
    Real,
    #[cfg(test)]
    Absent,
}

/// A terminal in our modes from [`enter`](Terminal::enter) to [`leave`](Terminal::leave) or drop.
pub(crate) struct Terminal<W: Write> {
    screen: Ratatui<Sized<W>>,
    tty: Tty,
    in_tmux: bool,
    title: String,
    entered: bool,
}

impl Terminal<BufWriter<Stdout>> {
    /// The process's own terminal. Also makes a panic give the terminal back before its message.
    pub(crate) fn open(in_tmux: bool) -> io::Result<Self> {
        PANIC_HOOK.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore_process_terminal();
                previous(info);
            }));
        });
        let size = terminal::size()?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, io::stdout());
        let terminal = Terminal::new(writer, size, Tty::Real, in_tmux)?;
        // Asked before the first event is read: the answer comes on the terminal's input.
        terminal::enable_raw_mode()?;
        let enhanced = terminal::supports_keyboard_enhancement().unwrap_or(false);
        ENHANCED.store(enhanced, Ordering::Relaxed);
        Ok(terminal)
    }
}

impl<W: Write> Terminal<W> {
    pub(crate) fn new(writer: W, size: (u16, u16), tty: Tty, in_tmux: bool) -> io::Result<Self> {
        let backend = Sized {
            inner: CrosstermBackend::new(writer),
            size: Size::new(size.0, size.1),
        };
        Ok(Terminal {
            screen: Ratatui::new(backend)?,
            tty,
            in_tmux,
            title: String::new(),
            entered: false,
        })
    }

    pub(crate) fn size(&self) -> (u16, u16) {
        let size = self.screen.backend().size;
        (size.width, size.height)
    }

    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        self.screen.backend_mut().size = Size::new(size.0, size.1);
    }

    pub(crate) fn enter(&mut self) -> io::Result<()> {
        if self.tty == Tty::Real {
            terminal::enable_raw_mode()?;
            ENTERED.store(true, Ordering::Relaxed);
            if let Ok(size) = terminal::size() {
                self.resize(size);
            }
        }
        self.entered = true;
        let enhanced = self.tty == Tty::Real && ENHANCED.load(Ordering::Relaxed);
        write_enter(self.screen.backend_mut(), enhanced)?;
        self.title.clear();
        self.redraw()
    }

    /// Gives the terminal back as it was.
    pub(crate) fn leave(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.entered) {
            return Ok(());
        }
        let enhanced = self.tty == Tty::Real && ENHANCED.load(Ordering::Relaxed);
        let written = write_leave(self.screen.backend_mut(), enhanced);
        if self.tty == Tty::Real {
            ENTERED.store(false, Ordering::Relaxed);
            terminal::disable_raw_mode()?;
        }
        written
    }

    /// Forgets what is on the screen: the next frame is written whole.
    pub(crate) fn redraw(&mut self) -> io::Result<()> {
        let (width, height) = self.size();
        self.screen.resize(Rect::new(0, 0, width, height))
    }

    /// Draws one frame and tells what was visible of the transcript.
    pub(crate) fn draw(&mut self, app: &App, cache: &mut Cache, now: Instant) -> io::Result<Seen> {
        queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)?;
        self.screen.draw(|frame| view::view(app, cache, now, frame))?;
        let title = app.title();
        if title != self.title {
            queue!(self.screen.backend_mut(), SetTitle(&title))?;
            self.title = title;
        }
        queue!(self.screen.backend_mut(), EndSynchronizedUpdate)?;
        Write::flush(self.screen.backend_mut())?;
        Ok(cache.seen())
    }

    pub(crate) fn bell(&mut self) -> io::Result<()> {
        self.print("\x07")
    }

    /// Puts text on the clipboard of the terminal's own machine (OSC 52, xterm's control sequences).
    pub(crate) fn copy(&mut self, text: &str) -> io::Result<()> {
        let sequence = format!("\x1b]52;c;{}\x07", BASE64_STANDARD.encode(text));
        if self.in_tmux {
            // tmux passes on what is wrapped so, with each escape doubled.
            self.print(&format!(
                "\x1bPtmux;{}\x1b\\",
                sequence.replace('\x1b', "\x1b\x1b")
            ))
        } else {
            self.print(&sequence)
        }
    }

    /// A last line, for a terminal that was given back. It is our own text.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.print(&format!("{text}\r\n"))
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        queue!(self.screen.backend_mut(), Print(text))?;
        Write::flush(self.screen.backend_mut())
    }
}

impl<W: Write> Drop for Terminal<W> {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.leave();
    }
}

/// Saves and restores the window's title on xterm's stack (XTWINOPS 22 and 23).
struct PushTitle;
struct PopTitle;

impl Command for PushTitle {
    fn write_ansi(&self, f: &mut impl std::fmt::Write) -> std::fmt::Result {
        f.write_str("\x1b[22;0t")
    }
}

impl Command for PopTitle {
    fn write_ansi(&self, f: &mut impl std::fmt::Write) -> std::fmt::Result {
        f.write_str("\x1b[23;0t")
    }
}

fn write_enter(writer: &mut impl Write, enhanced: bool) -> io::Result<()> {
    queue!(
        writer,
        PushTitle,
        EnterAlternateScreen,
        EnableBracketedPaste,
        EnableFocusChange,
        cursor::Hide
    )?;
    if enhanced {
        let flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES;
        queue!(writer, PushKeyboardEnhancementFlags(flags))?;
    }
    writer.flush()
}

fn write_leave(writer: &mut impl Write, enhanced: bool) -> io::Result<()> {
    if enhanced {
        queue!(writer, PopKeyboardEnhancementFlags)?;
    }
    queue!(
        writer,
        EndSynchronizedUpdate,
        DisableFocusChange,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show,
        PopTitle
    )?;
    writer.flush()
}

/// For a panic, when the [`Terminal`] cannot be reached.
fn restore_process_terminal() {
    if ENTERED.swap(false, Ordering::Relaxed) {
        // The panic's own message is worth more than an error of this.
        let _ = write_leave(&mut io::stdout(), ENHANCED.load(Ordering::Relaxed));
        let _ = terminal::disable_raw_mode();
    }
}

/// A backend whose size is what the events said: asking the terminal needs a terminal.
struct Sized<W: Write> {
    inner: CrosstermBackend<W>,
    size: Size,
}

impl<W: Write> Write for Sized<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(&mut self.inner)
    }
}

impl<W: Write> Backend for Sized<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        self.inner.draw(content)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        queue!(self.inner, cursor::Hide)
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        queue!(self.inner, cursor::Show)
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        queue!(self.inner, cursor::MoveTo(position.x, position.y))
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.inner.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize {
            columns_rows: self.size,
            pixels: Size::new(0, 0),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        // The frame ends with the end of the synchronized update: it leaves with that.
        Ok(())
    }
}
