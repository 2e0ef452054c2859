//! One plain function per request, named after it, grouped by subject.

#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "handlers have one signature, which the dispatcher prescribes"
)]

pub(super) mod lifecycle;

pub(super) mod breakpoints;

pub(super) mod inspect;

pub(super) mod sources;
