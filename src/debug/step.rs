//! Stepping, and what call, return, line and count events mean for it.
//!
//! A frame is told from others by its `CallInfo`, which is the same for every
//! activation at one depth of one coroutine; returns, tail calls, caught errors
//! and yields are therefore followed, so that a step never takes another
//! activation for its own. A step that leaves its function ends in the caller,
//! in the middle of the calling line if something is left to do there: a count
//! event on the very next instruction says so.

#![allow(unsafe_code)]

use std::{ffi::c_int, ptr, sync::Arc};

use mlua::ffi::{self, lua_State};

use crate::{
    debug::{
        breakpoints::Live,
        core::{Core, ENTRY, FOREIGN, LINES, Link, Verdict, head},
        model::{Resume, StopReason},
        shared::EVALUATING,
        sources::file_of,
    },
    lua::layout::{self, CallInfo},
};

/// What ends the step under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none.
    None,
    /// The first line executed; reported as the entry of the program.
    Entry,
    /// The program goes on; the event that belongs to the instruction where it
    /// stood is still to be passed over.
    Leave,
    /// Any new line.
    In(Start),
    /// A new line of the same activation, or its end.
    Over(Start),
    /// As `Over`, but ends in the function that this instruction calls.
    Into(Start, u32),
    /// Control coming back to this frame; null if only the coroutine's resumer
    /// is left.
    Finish(Place),
    /// The next instruction.
    Arrive(Place),
}

/// A frame of a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) l: *mut lua_State,
    pub(super) frame: *mut CallInfo,
}

/// Where a step began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    place: Place,
    line: u32,
    /// The activation was replaced by a tail call: its lines are not ours.
    replaced: bool,
}

impl Step {
    /// Whether the next count event ends it.
    pub(super) fn arrives(self) -> bool {
        matches!(self, Self::Arrive(_))
    }

    /// The coroutine and frame that the step is bound to.
    fn place(self) -> Option<Place> {
        match self {
            Self::None | Self::Entry | Self::Leave => None,
            Self::In(start) | Self::Over(start) | Self::Into(start, _) => Some(start.place),
            Self::Finish(place) | Self::Arrive(place) => Some(place),
        }
    }
}

impl Core {
    /// Sets out as the user asked, from the stopped frame `from`.
    pub(super) fn begin_step(&self, l: *mut lua_State, how: Resume, from: *mut CallInfo) {
        let place = Place { l, frame: from };
        // SAFETY: `from` is null or the stopped frame.
        let in_lua = !from.is_null() && unsafe { (*from).is_lua() };
        let step = match how {
            Resume::Continue if in_lua => Step::Leave,
            Resume::Continue => Step::None,
            // An error is on its way: whoever runs a line next has dealt with it.
            Resume::In | Resume::Over | Resume::Into(_) if from.is_null() => {
                Step::In(Start { place, line: 0, replaced: false })
            }
            Resume::Out if from.is_null() => Step::None,
            Resume::In | Resume::Over if in_lua => {
                let start = Start { place, line: line_of(l, from), replaced: false };
                if how == Resume::In { Step::In(start) } else { Step::Over(start) }
            }
            Resume::Into(pc) => {
                let start = Start { place, line: line_of(l, from), replaced: false };
                Step::Into(start, pc)
            }
            Resume::In | Resume::Over | Resume::Out => {
                // SAFETY: an active frame has a caller or is the base.
                Step::Finish(Place {
                    l,
                    frame: self.caller_of_interest(l, unsafe { (*from).previous }),
                })
            }
        };
        if in_lua && step != Step::None {
            // SAFETY: a stopped Lua frame.
            self.seen.set(Some((from, unsafe { (*from).pc() })));
        }
        self.set_step(step);
    }

    /// The first frame from `frame` outwards that a step may end in; null if the
    /// coroutine has none.
    fn caller_of_interest(&self, l: *mut lua_State, frame: *mut CallInfo) -> *mut CallInfo {
        // SAFETY: the chain of active frames ends at the base.
        unsafe {
            let base = &raw mut (*layout::state(l)).base_ci;
            let mut frame = frame;
            while frame != base && !frame.is_null() {
                if (*frame).is_lua() && self.entry((*frame).proto()).flags & FOREIGN == 0 {
                    return frame;
                }
                frame = (*frame).previous;
            }
        }
        ptr::null_mut()
    }

    /// Whether the step under way needs line events in this Lua frame.
    pub(super) fn step_wants_lines(&self, l: *mut lua_State, frame: *mut CallInfo) -> bool {
        match self.step.get() {
            Step::Entry => true,
            Step::In(_) => {
                // SAFETY: a live Lua frame, by contract of the callers.
                unsafe { self.entry((*frame).proto()).flags & FOREIGN == 0 }
            }
            Step::Over(start) | Step::Into(start, _) => {
                start.place == Place { l, frame } && !start.replaced
            }
            Step::None | Step::Leave | Step::Finish(_) | Step::Arrive(_) => false,
        }
    }

    /// The program has left the instruction where it stood.
    pub(super) fn left(&self, l: *mut lua_State) {
        if self.step.get() == Step::Leave {
            self.set_step(Step::None);
            self.arm(l);
        }
    }

    /// A function is entered.
    pub(super) fn on_call(&self, l: *mut lua_State, tail: bool) -> Verdict {
        // SAFETY: call events happen in a live frame.
        let (frame, info) = unsafe {
            let frame = (*layout::state(l)).ci;
            (frame, &*frame)
        };
        if !info.is_lua() {
            return Verdict::Go;
        }
        if let Step::Into(start, pc) = self.step.get()
            && start.place.l == l
        {
            let nowhere = Place { l, frame: ptr::null_mut() };
            // SAFETY: live frames; the caller of a Lua frame may be native.
            let is_target = unsafe {
                let caller = info.previous;
                if tail && start.place.frame == frame {
                    true
                } else {
                    start.place.frame == caller
                        && (*caller).is_lua()
                        && u32::try_from((*caller).pc()) == Ok(pc)
                }
            };
            if is_target {
                self.set_step(Step::In(Start { place: nowhere, ..start }));
            }
        }
        if tail
            && let Step::Over(start) | Step::In(start) = self.step.get()
            && start.place == (Place { l, frame })
        {
            let start = Start { replaced: true, ..start };
            self.set_step(match self.step.get() {
                Step::Over(_) => Step::Over(start),
                _ => Step::In(start),
            });
        }
        // SAFETY: a live Lua frame.
        let proto = unsafe { info.proto() };
        if self.entry(proto).flags & ENTRY != 0 {
            let start = u32::try_from(proto.linedefined).unwrap_or(0);
            let here = self.with_breaks(proto, |breaks| breaks.entries.get(&start).cloned());
            let ids = self.hits(l, frame, &here.flatten().unwrap_or_default());
            if !ids.is_empty()
                && self.stop(l, StopReason::FunctionBreakpoint(ids)) == Verdict::Unwind
            {
                return Verdict::Unwind;
            }
        }
        self.follow(l, frame);
        Verdict::Go
    }

    /// A function returns.
    pub(super) fn on_return(&self, l: *mut lua_State) -> Verdict {
        // SAFETY: return events happen in a live frame.
        let (state, frame) = unsafe {
            let state = &mut *layout::state(l);
            let frame = state.ci;
            (state, frame)
        };
        // SAFETY: as above; the base frame never returns.
        let caller = unsafe { (*frame).previous };
        let here = Place { l, frame };
        let target = match self.step.get() {
            // Natives may call back: any line will do.
            // SAFETY: a live frame.
            Step::In(start) if start.place == here && unsafe { !(*caller).is_lua() } => {
                let nowhere = Place { l, frame: ptr::null_mut() };
                self.set_step(Step::In(Start { place: nowhere, ..start }));
                None
            }
            Step::Over(start) | Step::In(start) | Step::Into(start, _) if start.place == here => {
                Some(self.caller_of_interest(l, caller))
            }
            // Nothing was left to do there.
            Step::Arrive(place) if place == here => Some(self.caller_of_interest(l, caller)),
            Step::Finish(place) if place.l == l && place.frame == caller => Some(caller),
            _ => None,
        };
        if let Some(target) = target {
            let place = Place { l, frame: target };
            if target == caller {
                self.set_step(Step::Arrive(place));
                Self::count_next(state);
            } else {
                self.set_step(Step::Finish(place));
            }
        }
        self.follow(l, caller);
        // SAFETY: live frames; only Lua frames have traps.
        unsafe {
            for frame in [frame, caller] {
                if (*frame).is_lua() {
                    (*frame).set_trap();
                }
            }
        }
        Verdict::Go
    }

    /// A new line begins.
    pub(super) fn on_line(&self, l: *mut lua_State, line: u32) -> Verdict {
        // SAFETY: line events happen in a live Lua frame.
        let (frame, pc, proto) = unsafe {
            let frame = (*layout::state(l)).ci;
            (frame, (*frame).pc(), (*frame).proto())
        };
        if self.seen.take() == Some((frame, pc)) {
            return Verdict::Go;
        }
        let flags = self.entry(proto).flags;
        if !self.starts_line(proto, pc) {
            self.follow(l, frame);
            return Verdict::Go;
        }
        if flags & LINES != 0 {
            let here = self.with_breaks(proto, |breaks| breaks.lines.get(&line).cloned());
            if let Some(Some(here)) = here {
                let ids = self.hits(l, frame, &here);
                if !ids.is_empty() {
                    return self.stop(l, StopReason::Breakpoint(ids));
                }
            }
        }
        let mine = flags & FOREIGN == 0;
        let here = Place { l, frame };
        match self.step.get() {
            Step::Entry => return self.stop(l, StopReason::Entry),
            Step::In(start)
                if mine && (start.place != here || start.line != line || start.replaced) =>
            {
                return self.stop(l, StopReason::Step);
            }
            Step::Over(start) | Step::Into(start, _)
                if start.place == here && !start.replaced && start.line != line =>
            {
                return self.stop(l, StopReason::Step);
            }
            Step::None => {}
            _ => self.follow(l, frame),
        }
        Verdict::Go
    }

    /// The instruction after a return.
    pub(super) fn on_count(&self, l: *mut lua_State) -> Verdict {
        // SAFETY: a running state.
        let state = unsafe { &mut *layout::state(l) };
        match self.step.get() {
            Step::Arrive(place) if place == (Place { l, frame: state.ci }) => {
                state.hookmask &= !ffi::LUA_MASKCOUNT;
                self.stop(l, StopReason::Step)
            }
            Step::Arrive(_) => {
                // A metamethod or finalizer came first.
                Self::count_next(state);
                Verdict::Go
            }
            _ => {
                state.hookmask &= !ffi::LUA_MASKCOUNT;
                Verdict::Go
            }
        }
    }

    /// Whether the debugger has changed its mind since `l` resumed a coroutine.
    #[inline]
    pub(super) fn is_news_to(&self, l: *mut lua_State) -> bool {
        // SAFETY: a live state.
        let epoch = unsafe { (*layout::state(l)).basehookcount };
        self.attention() != 0 || (self.armed.get() && epoch != self.epoch.get())
    }

    /// A coroutine has yielded or ended, and control is back in its resumer `l`,
    /// inside the native function that resumed it.
    #[cold]
    pub(super) fn resumed(&self, l: *mut lua_State, co: *mut lua_State) {
        if self.attention() & EVALUATING != 0 {
            return;
        }
        if self.step.get().place().is_some_and(|place| place.l == co) {
            // SAFETY: `l` stands in the native function.
            let frame = unsafe { (*layout::state(l)).ci };
            self.set_step(Step::Finish(Place { l, frame: self.caller_of_interest(l, frame) }));
        }
        self.arm(l);
    }

    /// An error was caught in the native frame where `l` now stands: frames
    /// above it are gone.
    #[cold]
    pub(super) fn caught(&self, l: *mut lua_State) {
        self.dead_traces.borrow_mut().clear();
        let Some(place) = self.step.get().place() else { return };
        // SAFETY: `l` stands still.
        // A step out of a coroutine's last frame has none to lose.
        let alive = place.l != l
            || place.frame.is_null()
            // SAFETY: `l` stands still.
            || unsafe { layout::frames(l) }.any(|frame| frame == place.frame);
        if !alive || (place.l != l && !is_resuming(place.l)) {
            // SAFETY: as above.
            let frame = unsafe { (*layout::state(l)).ci };
            self.set_step(Step::Finish(Place { l, frame: self.caller_of_interest(l, frame) }));
        }
        self.arm(l);
    }

    /// The ids of the breakpoints in `list` that count here and now.
    fn hits(&self, l: *mut lua_State, frame: *mut CallInfo, list: &[Arc<Live>]) -> Vec<i64> {
        list.iter().filter(|live| self.is_hit(l, frame, live)).map(|live| live.id).collect()
    }

    /// Whether the files below the user's own folders do not include this chunk.
    pub(super) fn is_foreign(&self, chunk: &[u8]) -> bool {
        let filters = self.filters.borrow();
        match (&filters.roots, file_of(chunk)) {
            (Some(roots), Some(path)) => !roots.iter().any(|root| path.starts_with(root)),
            _ => false,
        }
    }
}

/// Whether a coroutine is among those being resumed now.
fn is_resuming(l: *mut lua_State) -> bool {
    let mut link = head();
    // SAFETY: links live as long as they are reachable from the head.
    while let Some(Link { running, previous, .. }) = unsafe { link.as_ref() } {
        if *running == l {
            return true;
        }
        link = *previous;
    }
    false
}

/// The line a live Lua frame is at; 0 if unknown.
pub(super) fn line_of(l: *mut lua_State, frame: *mut CallInfo) -> u32 {
    let mut record = layout::activation(frame);
    // SAFETY: a live frame of `l`.
    unsafe { crate::lua::raw::get_info(l, c"l", &mut record) };
    u32::try_from(record.currentline as c_int).unwrap_or(0)
}
