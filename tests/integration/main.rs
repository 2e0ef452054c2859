//! The tests that drive the real binary, one module for each subject.
//!
//! Nothing here sleeps to wait for something or measures time: a test waits
//! for what it expects, and fails when that does not come.

#[path = "../support/dap_client.rs"]
mod dap_client;
mod lab;

mod house;

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
mod protocol;

mod debug_api;
