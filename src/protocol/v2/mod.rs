//! The parameters, answers and shared types of the methods, one file per resource.

mod account;
mod approval;
mod fs;
mod initialize;
mod item;
mod model;
mod thread;
mod turn;

pub use account::*;
pub use approval::*;
pub use fs::*;
pub use initialize::*;
pub use item::*;
pub use model::*;
pub use thread::*;
pub use turn::*;

use serde::{Deserialize, Serialize};

/// An answer or a parameter object without fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}
