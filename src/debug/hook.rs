//! The hook that Lua calls. Everything here is on the hot path.
//!
//! While breakpoints are set, the mask of each running state follows what can
//! happen next:
//!
//! - functions without breakpoints run under a call hook alone;
//! - a call into a function that holds one adds line events;
//! - a call from there into one that holds none drops line events and adds
//!   return events, so that they come back with the frame they are for.
//!
//! The mask is written directly: `lua_sethook` walks the whole call chain, and
//! doing so on every call makes deep recursion quadratic. Two invariants make it
//! work: a frame's `trap` must be set for it to see line events (the VM sets it
//! on each call and return while any hook is on; returns that the VM has cached
//! are set here), and line events in a frame that wants none only cost time:
//! [`Core::settle`] heals the mask at the first of them.

#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Once,
        atomic::{Ordering, compiler_fence},
    },
};

use mlua::ffi::{self, lua_Debug, lua_State};

use crate::{
    debug::{
        core::{Core, ENTRY, Entry, LINES, Verdict, current, running},
        shared::{EVALUATING, PENDING, STOPPING},
        step::Step,
    },
    lua::layout::{self, CallInfo, State},
};

const CALL: c_int = ffi::LUA_MASKCALL;
const RETURN: c_int = ffi::LUA_MASKRET;
const LINE: c_int = ffi::LUA_MASKLINE;
const COUNT: c_int = ffi::LUA_MASKCOUNT;

/// Instructions between two looks at the clock while an evaluation runs, and
/// between two raises while the program is being ended.
const TICKS: c_int = 1000;

/// How far down [`Core::settle`] looks for frames with breakpoints.
const SETTLE_DEPTH: usize = 64;

/// Lua's hook function.
pub(super) unsafe extern "C-unwind" fn hook(l: *mut lua_State, record: *mut lua_Debug) {
    // SAFETY: called by Lua on a running state, with a filled-in record.
    unsafe {
        if !is_nothing(l, &*record) {
            attend_event(l, &*record);
        }
    }
}

/// The fast path: whether the event needs nothing but a change of the mask,
/// which is then made. It calls nothing, so that it needs no stack.
///
/// # Safety
/// Called from [`hook`]: `ci` is the frame the event is about.
#[inline]
unsafe fn is_nothing(l: *mut lua_State, record: &lua_Debug) -> bool {
    // SAFETY: by the caller's promise; Lua frames answer `proto`.
    unsafe {
        let Some(core) = current() else { return false };
        let state = &mut *layout::state(l);
        if state.basehookcount != core.epoch.get() {
            return false;
        }
        let frame = &mut *state.ci;
        // The most frequent first.
        let event = record.event;
        if event == ffi::LUA_HOOKCALL || event == ffi::LUA_HOOKTAILCALL {
            if !frame.is_lua() {
                return true;
            }
            let Some(Entry { flags, .. }) = core.known_entry(frame.proto()) else { return false };
            if flags & (LINES | ENTRY) == 0 {
                if state.hookmask & LINE != 0 {
                    state.hookmask = CALL | RETURN;
                    // A kick in between has set another hook, whose mask this
                    // was.
                    compiler_fence(Ordering::SeqCst);
                    return (&raw const state.basehookcount).read_volatile() == core.epoch.get();
                }
                return true;
            }
            if flags & ENTRY == 0 {
                state.hookmask |= LINE;
                return true;
            }
            false
        } else if event == ffi::LUA_HOOKLINE {
            let Some(entry) = core.known_entry(frame.proto()) else { return false };
            entry.flags & LINES != 0 && entry.bits >> (record.currentline % 64) & 1 == 0
        } else if event == ffi::LUA_HOOKRET {
            let caller = &mut *frame.previous;
            if !caller.is_lua() {
                return true;
            }
            let Some(Entry { flags, .. }) = core.known_entry(caller.proto()) else { return false };
            if flags & LINES != 0 {
                state.hookmask = CALL | LINE;
                trap(frame);
                caller.set_trap();
            }
            true
        } else {
            false
        }
    }
}

/// Everything else.
///
/// # Safety
/// As for [`is_nothing`].
#[cold]
#[inline(never)]
unsafe fn attend_event(l: *mut lua_State, record: &lua_Debug) {
    // SAFETY: by the caller's promise. No destructor may be pending when Lua's
    // error unwinds this frame.
    unsafe {
        let Some(core) = current() else {
            ffi::lua_sethook(l, None, 0, 0);
            return;
        };
        let (event, line) = (record.event, record.currentline);
        if core.settles(l, event) || is_nothing(l, record) {
            core.heed(l);
            return;
        }
        match catch_unwind(AssertUnwindSafe(|| core.event(l, event, line))) {
            Ok(Raise::Nothing) => core.heed(l),
            Ok(Raise::Stop) => raise_stop(l),
            Ok(Raise::EvaluationOver(why)) => {
                ffi::lua_pushstring(l, why.as_ptr());
                ffi::lua_error(l);
            }
            Err(_) => {
                ffi::lua_sethook(l, None, 0, 0);
                tracing::error!("the debug hook failed; this coroutine is not debugged any more");
            }
        }
    }
}

/// What the hook does after everything else is cleaned up.
enum Raise {
    Nothing,
    Stop,
    EvaluationOver(&'static std::ffi::CStr),
}

/// Raises the error that ends the program, and sees to it that it is raised
/// again if some handler goes on for long.
///
/// # Safety
/// On the Lua thread, with nothing to drop in the calling frames up to Lua.
pub(super) unsafe fn raise_stop(l: *mut lua_State) -> ! {
    // SAFETY: by the caller's promise.
    unsafe {
        ffi::lua_sethook(l, Some(hook), COUNT, TICKS);
        ffi::lua_pushstring(l, c"interrupted".as_ptr());
        ffi::lua_error(l)
    }
}

/// See [`CallInfo::set_trap`]; native frames have none.
unsafe fn trap(frame: &mut CallInfo) {
    if frame.is_lua() {
        // SAFETY: just checked.
        unsafe { frame.set_trap() };
    }
}

impl Core {
    /// Everything the fast path has not dealt with.
    fn event(&self, l: *mut lua_State, event: c_int, line: c_int) -> Raise {
        let attention = self.attention();
        if attention & EVALUATING != 0 {
            let refused = match event {
                // The chunk has no callers to be replaced but itself.
                ffi::LUA_HOOKTAILCALL => true,
                ffi::LUA_HOOKCALL => !Self::may_enter(l),
                _ => false,
            };
            if refused && self.pure.get() {
                return Raise::EvaluationOver(c"functions are not called here; use the console");
            }
            return self.evaluation_ended().map_or(Raise::Nothing, Raise::EvaluationOver);
        }
        if attention & STOPPING != 0 {
            return Raise::Stop;
        }
        // SAFETY: a running state.
        let state = unsafe { &mut *layout::state(l) };
        if attention & PENDING != 0 || state.basehookcount != self.mark() {
            if self.attend(l) == Verdict::Unwind {
                return Raise::Stop;
            }
            self.arm(l);
            if event == ffi::LUA_HOOKCOUNT && !self.step.get().arrives() {
                // The kick added a line event for this instruction that says
                // nothing new unless a line starts here.
                // SAFETY: count events happen in Lua frames.
                unsafe { state.oldpc = ((*state.ci).pc() - 1).max(0) };
                return Raise::Nothing;
            }
        }
        if event != ffi::LUA_HOOKLINE {
            self.seen.set(None);
        }
        self.left(l);
        let verdict = match event {
            ffi::LUA_HOOKCALL => self.on_call(l, false),
            ffi::LUA_HOOKTAILCALL => self.on_call(l, true),
            ffi::LUA_HOOKRET => self.on_return(l),
            ffi::LUA_HOOKLINE => self.on_line(l, u32::try_from(line).unwrap_or(0)),
            _ => self.on_count(l),
        };
        if verdict == Verdict::Unwind { Raise::Stop } else { Raise::Nothing }
    }

    /// What the count of an up-to-date state's hook is. Nothing is counted by it:
    /// it marks what the fast path may deal with alone. Only without a step is it
    /// the epoch; kicks, evaluations and stepping all leave smaller ones.
    fn mark(&self) -> c_int {
        if self.step.get() == Step::None { self.epoch.get() } else { 0 }
    }

    /// Sets the hook of a state as breakpoints and steps now demand: everything
    /// on, for the first events to narrow down; or nothing at all.
    pub(super) fn arm(&self, l: *mut lua_State) {
        // SAFETY: `l` runs on this thread, or is about to.
        unsafe {
            if self.attention() & STOPPING != 0 {
                ffi::lua_sethook(l, Some(hook), COUNT, TICKS);
            } else if self.armed.get() {
                ffi::lua_sethook(l, Some(hook), CALL | RETURN | LINE, self.mark());
            } else {
                ffi::lua_sethook(l, None, 0, 0);
            }
        }
        // Somebody kicked in between: the signal's hook must not be lost.
        if self.attention() & PENDING != 0 {
            kick_hook(l);
        }
    }

    /// To be called where `l` may go on after its hook was changed, or after
    /// kicks have hooked another state: one that nobody has looked at yet must
    /// find its hook.
    pub(super) fn heed(&self, l: *mut lua_State) {
        if self.attention() & (PENDING | EVALUATING) == PENDING {
            kick_hook(l);
        }
    }

    /// Arms a coroutine that is about to be resumed, if it is not up to date.
    #[inline]
    pub(super) fn arm_resumed(&self, co: *mut lua_State) {
        if self.attention() & EVALUATING != 0 {
            self.watch_evaluation(co);
            return;
        }
        // SAFETY: a live coroutine.
        let state = unsafe { &*layout::state(co) };
        if state.hookmask & CALL == 0
            || state.basehookcount != self.epoch.get()
            || self.attention() != 0
        {
            self.arm(co);
        }
    }

    /// Gives an evaluation (or a coroutine that it resumes) its clock.
    pub(super) fn watch_evaluation(&self, co: *mut lua_State) {
        let calls = if self.pure.get() { CALL } else { 0 };
        // SAFETY: a live coroutine of this VM.
        unsafe { ffi::lua_sethook(co, Some(hook), COUNT | calls, TICKS) };
    }

    /// Makes the very next instruction of the frame that is being returned to
    /// an event.
    pub(super) fn count_next(state: &mut State) {
        state.hookmask |= COUNT;
        state.hookcount = 1;
    }

    /// Learns what the fast path did not know of the functions involved; whether
    /// the event was a line in a frame that wants none, which is dealt with.
    ///
    /// # Safety
    /// In a hook of `l`.
    unsafe fn settles(&self, l: *mut lua_State, event: c_int) -> bool {
        // SAFETY: live frames; only Lua frames are asked for their function.
        unsafe {
            let state = &mut *layout::state(l);
            let frame = state.ci;
            for frame in [frame, (*frame).previous] {
                if !frame.is_null() && (*frame).is_lua() {
                    self.entry((*frame).proto());
                }
            }
            let unwanted = event == ffi::LUA_HOOKLINE
                && state.basehookcount == self.epoch.get()
                && self.entry((*frame).proto()).flags & LINES == 0;
            if unwanted {
                self.settle(state);
            }
            unwanted
        }
    }

    /// Narrows the mask in a frame that wants no line events.
    ///
    /// # Safety
    /// `state` must run, in a hook.
    #[cold]
    unsafe fn settle(&self, state: &mut State) {
        let base = &raw const state.base_ci;
        let mut frame = state.ci.cast_const();
        state.hookmask = CALL;
        for _ in 0..SETTLE_DEPTH {
            // SAFETY: the chain of active frames ends at the base.
            let info = unsafe { &*frame };
            if std::ptr::eq(frame, base) {
                return;
            }
            // SAFETY: an active Lua frame.
            if info.is_lua() && unsafe { self.entry(info.proto()).flags } & LINES != 0 {
                break;
            }
            frame = info.previous;
        }
        state.hookmask = CALL | RETURN;
    }

    /// The mask for a frame while a step is under way, or a slow event needs one.
    pub(super) fn follow(&self, l: *mut lua_State, frame: *mut CallInfo) {
        // SAFETY: a live frame of a live state, on its own thread.
        unsafe {
            let state = &mut *layout::state(l);
            if state.hookmask == 0 {
                return;
            }
            let wanted = (*frame).is_lua()
                && (self.step_wants_lines(l, frame)
                    || self.entry((*frame).proto()).flags & LINES != 0);
            let count = state.hookmask & COUNT;
            state.hookmask = CALL | RETURN | count | if wanted { LINE } else { 0 };
            if wanted {
                (*frame).set_trap();
            }
        }
    }
}

/// Hooks the next instruction of `l`, from outside or inside.
fn kick_hook(l: *mut lua_State) {
    // SAFETY: `lua_sethook` is the one function of Lua's API that may be called
    // asynchronously (lua.c does it on Ctrl-C).
    unsafe { ffi::lua_sethook(l, Some(hook), CALL | RETURN | LINE | COUNT, 1) };
}

/// Runs on the Lua thread, between two of its machine instructions.
extern "C" fn on_signal(_: c_int) {
    // Reads two thread-locals without destructors and calls `lua_sethook`: both
    // are safe here.
    let l = running();
    if !l.is_null() {
        kick_hook(l);
    }
}

/// Installs the handler for [`super::shared::Shared::kick`]'s signal, once.
pub(super) fn handle_kicks() {
    static INSTALLED: Once = Once::new();
    // SAFETY: a handler that is async-signal-safe; system calls go on.
    INSTALLED.call_once(|| unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut());
    });
}

/// Does some work during which the handler does not run on this thread.
pub(super) fn hold_kicks(work: impl FnOnce()) {
    // SAFETY: both sets are filled in before they are read; nothing here fails.
    unsafe {
        let (mut kicks, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&raw mut kicks);
        libc::sigaddset(&raw mut kicks, libc::SIGURG);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const kicks, &raw mut before);
        work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
}
