//! The terminal as a screen, and its keys.

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

use crate::exit::{self, Failure};

/// A terminal in raw mode with an alternate screen. Dropping it restores the terminal; so does a
/// panic.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    keys: mpsc::Receiver<Key>,
}

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// `q` or Esc.
    Quit,
    /// Ctrl-C, which is no signal in raw mode.
    Interrupt,
    /// Tab.
    Next,
    Up,
    Down,
    PageUp,
    PageDown,
    /// Space.
    Pause,
    /// `c`.
    Clear,
    /// Anything after which the screen is to be drawn again, such as another size.
    Redraw,
}

impl Screen {
    /// Takes the terminal over.
    pub(crate) fn open() -> Result<Self, Failure> {
        /// Keys that may wait; a person is not faster.
        const WAITING: usize = 16;
        let terminal = ratatui::try_init()
            .map_err(|error| Failure::Local(format!("cannot draw on this terminal: {error}")))?;
        let (send, keys) = mpsc::channel(WAITING);
        // Blocks until the next key, and ends with the process.
        std::thread::spawn(move || {
            while let Ok(event) = event::read() {
                if let Some(key) = key_of(&event)
                    && send.blocking_send(key).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { terminal, keys })
    }

    /// Draws the screen anew.
    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        let drawn = self.terminal.draw(render);
        drawn.map(|_| ()).map_err(|error| Failure::Local(format!("cannot draw: {error}")))
    }

    /// Waits for a key.
    ///
    /// # Errors
    /// Ctrl-C, with its exit code.
    pub(crate) async fn key(&mut self) -> Result<Key, Failure> {
        match self.keys.recv().await {
            Some(Key::Interrupt) => Err(Failure::Signal(exit::INTERRUPTED)),
            Some(key) => Ok(key),
            // The terminal is gone.
            None => Ok(Key::Quit),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn key_of(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else {
        return matches!(event, Event::Resize(..)).then_some(Key::Redraw);
    };
    if *kind == KeyEventKind::Release {
        return None;
    }
    Some(match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Tab => Key::Next,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Char(' ') => Key::Pause,
        KeyCode::Char('c') => Key::Clear,
        _ => return None,
    })
}
