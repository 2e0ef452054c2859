//! Lua itself: the VM's inner layout, its C API in convenient form, and how
//! chunks get their names. Knows nothing of debugging or sessions.

pub(crate) mod chunk;
// Its users come with the terminal's front ends.
#[allow(dead_code)]
pub(crate) mod highlight;
pub(crate) mod layout;
pub(crate) mod raw;
pub(crate) mod scan;
