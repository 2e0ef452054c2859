//! The debug core: hook, breakpoints, stepping, stack, variables, evaluation
//! and errors of one Lua VM. Knows no protocol and no front end.
//!
//! Two sides meet here. The Lua thread owns the VM and a [`core::Core`]; any
//! other thread holds a [`Control`]. Between them stands [`shared::Shared`]: the
//! breakpoint tables (locked briefly, never while user code runs), a mailbox,
//! and a few atomic flags. Nothing but the Lua thread ever touches the VM.

mod breakpoints;
mod calls;
mod capture;
mod completion;
mod condition;
mod control;
mod core;
mod errors;
mod evaluate;
mod functions;
mod hook;
mod inspector;
mod loading;
mod model;
mod output;
mod render;
mod scratch;
mod shared;
mod sources;
mod stack;
mod step;
mod stop;
mod targets;
mod text_stream;
mod variables;
mod vm;

pub use control::{Attachment, Control, Observation, Pilot, SourceRequest};
pub use errors::Failure;
pub use inspector::Inspector;
pub use loading::{Code, Program, Show};
pub use model::*;
pub(crate) use render::{is_identifier, quoted};
pub use shared::{After, Parting, RunState, StopRequest, Waited, Work};
pub use text_stream::TextStream;
pub use vm::{Vm, VmOptions};
