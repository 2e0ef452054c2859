//! Lua itself: the VM's inner layout, its C API in convenient form, and how
//! chunks get their names. Knows nothing of debugging or sessions.

/// The version that is linked in; `layout` holds it to that.
pub(crate) const VERSION: &str = "5.4.9";

pub(crate) mod chunk;
pub(crate) mod highlight;
pub(crate) mod layout;
pub(crate) mod raw;
pub(crate) mod scan;
pub(crate) mod syntax;
