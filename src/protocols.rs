//! Wire protocols: each translates between its wire and the debug core, and
//! holds no logic of its own. None of them imports another; what they share
//! is the Content-Length framing in [`codec`].

pub mod codec;
pub mod dap;
<<<<<<< HEAD
pub mod repl;
=======
pub mod http;
>>>>>>> 7a34390 (Serve HTTP and WebSocket: health, figures, events, traces and the kernel's messages)
