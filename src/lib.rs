//! llmspell, the debugger for Lua programs that talk to language models.
//!
//! ARCHITECTURE.md draws the house; each module says what it is for.

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod debug;
pub mod kernel;
mod lua;
pub mod protocols;
pub mod repl;
pub mod session;
pub mod tui;
