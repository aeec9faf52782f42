//! Help and the palette: the lines of the live keymap, and the slash commands, filtered and run.

use super::{
    list,
    slash::{COMMANDS, Slash},
    text_field::TextField,
};
use crate::keymap::{Command, Context, bindings};

pub struct Palette {
    pub scope: Scope,
    pub filter: TextField,
    pub selected: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The keys of one context, and of everywhere.
    Help(Context),
    /// Everything that can be run from here.
    All(Context),
}

impl Scope {
    pub fn context(self) -> Context {
        match self {
            Scope::Help(context) | Scope::All(context) => context,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaletteLine {
    pub keys: String,
    pub about: String,
    pub place: &'static str,
    pub run: Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Key(Command),
    Slash(Slash),
}

impl Palette {
    pub fn new(scope: Scope) -> Palette {
        Palette {
            scope,
            filter: TextField::default(),
            selected: 0,
        }
    }

    pub fn lines(&self) -> Vec<PaletteLine> {
        let mut lines = self.keys();
        if self.scope.context() == Context::Composer || matches!(self.scope, Scope::All(_)) {
            lines.extend(COMMANDS.iter().map(|it| PaletteLine {
                keys: match it.argument {
                    Some(argument) => format!("/{} {argument}", it.name),
                    None => format!("/{}", it.name),
                },
                about: it.about.to_owned(),
                place: "command",
                run: Run::Slash(it.slash),
            }));
        }
        let filter = self.filter.text();
        lines.retain(|it| list::matches(filter, &format!("{} {} {}", it.keys, it.about, it.place)));
        lines
    }

    /// One line a command: all its keys together.
    fn keys(&self) -> Vec<PaletteLine> {
        let mut lines: Vec<PaletteLine> = Vec::new();
        for binding in bindings(self.scope.context()).filter(|it| !it.about.is_empty()) {
            let place = binding.context.label();
            let run = Run::Key(binding.command);
            match lines.iter_mut().find(|it| it.run == run && it.place == place) {
                Some(line) => {
                    line.keys.push_str(", ");
                    line.keys.push_str(&binding.chord.label());
                }
                None => lines.push(PaletteLine {
                    keys: binding.chord.label(),
                    about: binding.about.to_owned(),
                    place,
                    run,
                }),
            }
        }
        lines
    }
}
