//! Wire protocols: each translates between its wire and the debug core, and
//! holds no logic of its own. None of them imports another; what they share
//! is the Content-Length framing in [`codec`].

pub mod codec;
pub mod dap;
pub mod http;
pub mod repl;
