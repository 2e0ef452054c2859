//! Lua itself: the VM's inner layout, its C API in convenient form, and how
//! chunks get their names. Knows nothing of debugging or sessions.

pub(crate) mod chunk;
pub(crate) mod highlight;
pub(crate) mod layout;
pub(crate) mod raw;
pub(crate) mod scan;
