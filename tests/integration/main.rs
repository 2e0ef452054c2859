//! The tests that drive the real binary, one module for each subject.
//!
//! Nothing here sleeps to wait for something or measures time: a test waits
//! for what it expects, and fails when that does not come.

// A test fails by panicking, also outside of `#[test]` functions; its arguments
// are written where they are used, and it may be as long as its story.
#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    clippy::cast_possible_wrap,
    clippy::format_push_string,
    clippy::format_collect,
    clippy::needless_raw_string_hashes
)]

#[path = "../support/dap_client.rs"]
mod dap_client;
#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/kernel_process.rs"]
mod kernel_process;
mod lab;
mod terminal;

mod house;

mod config;
mod limits;
mod run;

mod breakpoints;
mod evaluate;
mod exceptions;
mod lifecycle;
mod masks;
mod stepping;
mod variables;

mod adapter;
mod fuzz;
mod kicks;
mod protocol;

mod debug_api;
mod debug_tui;
mod docs;
mod door;
mod http;
mod kernel;
mod kernel_messages;
mod line_repl;
mod repl;
mod session;
