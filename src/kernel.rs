//! The kernel: one process, one door, every protocol.

pub mod connection_file;
pub mod daemon;
pub mod log_file;
pub mod pid_file;
pub mod places;
pub mod ports;
pub mod process;
pub mod signals;
