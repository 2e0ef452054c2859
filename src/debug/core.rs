//! The Lua thread's side of the debugger.
//!
//! A [`Core`] is reached from hooks and native functions through a thread-local
//! pointer. It is entered again while it waits (a front end evaluates, that code
//! calls natives), so all its state is in cells and no borrow is held while Lua
//! runs.

#![allow(unsafe_code)]

use std::{
    cell::{Cell, RefCell, UnsafeCell},
    collections::HashMap,
    ffi::{c_int, c_void},
    ptr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering, compiler_fence},
    },
    time::{Duration, Instant},
};

use mlua::{
    WeakLua,
    ffi::{self, lua_State},
};

use crate::{
    debug::{
        breakpoints::{Active, Live, SourceBreaks},
        errors::{Failure, Filters},
        model::{Event, Progress, ProgressPhase, StopReason},
        shared::{
            EVALUATING, Mail, PENDING, RunState, STEPPING, STOPPING, Shared, StopRequest, Waited,
        },
        step::Step,
        stop::Stop,
    },
    lua::layout::{self, CallInfo, Proto},
};

/// See the module.
pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    pub(super) main: *mut lua_State,
    /// A thread on whose stack values are held and looked at.
    pub(super) aux: *mut lua_State,
    /// The epoch of the tables that `active` was made from.
    pub(super) epoch: Cell<i32>,
    /// Whether hooks are wanted at all.
    pub(super) armed: Cell<bool>,
    cache: UnsafeCell<Box<[Entry]>>,
    active: RefCell<Arc<Active>>,
    /// Instructions that start a line, or do not.
    starts: RefCell<HashMap<(usize, usize, c_int), bool>>,
    pub(super) step: Cell<Step>,
    /// Instruction whose second event is to be passed over (see `step`).
    pub(super) seen: Cell<Option<(*mut CallInfo, c_int)>>,
    pub(super) stop: RefCell<Option<Stop>>,
    /// When the running evaluation has to end.
    pub(super) deadline: Cell<Option<Instant>>,
    /// The running evaluation has been told to end.
    pub(super) evaluation_over: Cell<bool>,
    /// The running evaluation may not call anything.
    pub(super) pure: Cell<bool>,
    /// The frame in which names are looked up by an evaluation.
    pub(super) frame: Cell<(*mut lua_State, *mut CallInfo)>,
    /// An error crosses from a coroutine to its resumer and was seen already.
    pub(super) propagating: Cell<bool>,
    /// Tracebacks of the coroutines that the present error has crossed.
    pub(super) dead_traces: RefCell<Vec<String>>,
    /// Traceback of the error that nothing has caught.
    pub(super) last_trace: RefCell<String>,
    pub(super) filters: RefCell<Filters>,
    pub(super) attached: Cell<bool>,
    /// Conditions compiled into the registry.
    pub(super) compiled: RefCell<Vec<Weak<Live>>>,
    /// The VM, to lift its memory limit; unset without one.
    pub(super) limited: RefCell<Option<(WeakLua, usize)>>,
    /// Registry slot of the message for exhausted memory; 0 without a limit.
    pub(super) memory_message: Cell<c_int>,
    next_progress: Cell<u32>,
    /// Metatable of the errors that native functions raise.
    pub(super) native_error: Cell<*const c_void>,
    /// Lua's own `error` and `assert`.
    pub(super) thrower: Cell<(*mut c_void, *mut c_void)>,
}

/// One `lua_resume` in progress (or the main thread at the bottom). Lives on the
/// C stack of the resumer.
#[repr(C)]
pub(super) struct Link {
    pub(super) running: *mut lua_State,
    pub(super) previous: *const Link,
    /// Errors in it are the resumer's errors (`coroutine.wrap`).
    pub(super) wraps: bool,
}

thread_local! {
    static CORE: Cell<*const Core> = const { Cell::new(ptr::null()) };
    static HEAD: Cell<*const Link> = const { Cell::new(ptr::null()) };
}

/// Makes `core` the one of this thread's VM, with `base` below all coroutines.
/// Both stay where they are until [`leave_thread`].
pub(super) fn enter_thread(core: &Core, base: &Link) {
    CORE.set(core);
    HEAD.set(base);
}

/// This thread has no VM any more.
pub(super) fn leave_thread() {
    CORE.set(ptr::null());
    HEAD.set(ptr::null());
}

/// The core of this thread's VM.
#[inline]
pub(super) fn current<'a>() -> Option<&'a Core> {
    // SAFETY: set while the Vm lives, and used only by code that its Lua calls.
    unsafe { CORE.get().as_ref() }
}

/// The innermost running coroutine.
#[inline]
pub(super) fn head() -> *const Link {
    HEAD.get()
}

/// Makes `link` the innermost running coroutine.
#[inline]
pub(super) fn set_head(link: *const Link) {
    HEAD.set(link);
    // A kick hooks the head. Who asks for kicks after this must not have asked
    // before it.
    compiler_fence(Ordering::SeqCst);
}

/// The state that runs; null where no VM lives on this thread.
pub(super) fn running() -> *mut lua_State {
    // SAFETY: a link lives as long as it is the head.
    unsafe { HEAD.get().as_ref().map_or(ptr::null_mut(), |link| link.running) }
}

const CACHE_SIZE: usize = 2048;
/// The function has lines with breakpoints.
pub(super) const LINES: u8 = 1;
/// The function has a breakpoint on its entry.
pub(super) const ENTRY: u8 = 2;
/// The function is not the user's code.
pub(super) const FOREIGN: u8 = 4;

/// What is known of a function prototype.
///
/// Prototypes are told by address. One that was collected leaves its entry
/// behind, but nothing can take its address without being loaded first, and
/// loading empties the cache.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    proto: *const Proto,
    /// Bit `line % 64` is set for lines with breakpoints.
    pub(super) bits: u64,
    /// [`LINES`] and its siblings.
    pub(super) flags: u8,
}

impl Entry {
    const NONE: Self = Self { proto: ptr::null(), bits: 0, flags: 0 };
}

/// Whether the program may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    Go,
    /// An error must be raised that nothing catches.
    Unwind,
}

impl Core {
    /// What is already known of a prototype.
    #[inline]
    pub(super) fn known_entry(&self, proto: &Proto) -> Option<&Entry> {
        // SAFETY: as for `slot`.
        let entry = unsafe { &*self.slot(proto) };
        ptr::eq(entry.proto, proto).then_some(entry)
    }

    /// What is known of a prototype.
    pub(super) fn entry(&self, proto: &Proto) -> &Entry {
        let slot = self.slot(proto);
        // SAFETY: as for `slot`.
        unsafe {
            if !ptr::eq((*slot).proto, proto) {
                *slot = self.study(proto);
            }
            &*slot
        }
    }

    /// The place of a prototype in the cache. Only this thread touches it, and no
    /// reference into it outlives the next call.
    #[inline]
    fn slot(&self, proto: &Proto) -> *mut Entry {
        let address = ptr::from_ref(proto) as usize;
        let slot = (address >> 6 ^ address >> 13) % CACHE_SIZE;
        // SAFETY: the cache has `CACHE_SIZE` entries.
        unsafe {
            let cache = &mut *self.cache.get();
            cache.get_unchecked_mut(slot)
        }
    }

    /// A chunk was loaded: its functions may be where others have been.
    pub(super) fn forget_protos(&self) {
        self.starts.borrow_mut().clear();
        // SAFETY: as in `entry`.
        unsafe { (*self.cache.get()).fill(Entry::NONE) };
    }

    #[cold]
    #[inline(never)]
    fn study(&self, proto: &Proto) -> Entry {
        let active = self.active.borrow();
        let name = proto.source_name();
        let mut entry = Entry { proto, bits: 0, flags: 0 };
        if let Some(breaks) = active.sources.get(name) {
            if !breaks.lines.is_empty() {
                proto.for_each_line(|line| {
                    if breaks.lines.contains_key(&line) {
                        entry.bits |= 1 << (line % 64);
                        entry.flags |= LINES;
                    }
                });
            }
            let start = u32::try_from(proto.linedefined).unwrap_or(0);
            if start > 0 && breaks.entries.contains_key(&start) {
                entry.flags |= ENTRY;
            }
        }
        if self.is_foreign(name) {
            entry.flags |= FOREIGN;
        }
        entry
    }

    /// [`Proto::starts_line`], remembered.
    pub(super) fn starts_line(&self, proto: &Proto, pc: c_int) -> bool {
        let key = (ptr::from_ref(proto) as usize, proto.code as usize, pc);
        *self.starts.borrow_mut().entry(key).or_insert_with(|| proto.starts_line(pc))
    }

    /// The breakpoints of the chunk that `proto` belongs to.
    pub(super) fn with_breaks<R>(
        &self,
        proto: &Proto,
        read: impl FnOnce(&SourceBreaks) -> R,
    ) -> Option<R> {
        let active = Arc::clone(&self.active.borrow());
        active.sources.get(proto.source_name()).map(read)
    }

    /// Takes over the shared tables if they have changed.
    pub(super) fn refresh(&self) {
        let epoch = self.shared.epoch.load(Ordering::SeqCst);
        if epoch == self.epoch.get() {
            return;
        }
        let attached = self.shared.attached();
        let (active, filters) = {
            let tables = self.shared.tables();
            let active = if attached { tables.activate() } else { Active::default() };
            (active, Filters::new(&tables, attached))
        };
        self.epoch.set(epoch);
        self.attached.set(attached);
        *self.active.borrow_mut() = Arc::new(active);
        *self.filters.borrow_mut() = filters;
        self.forget_protos();
        self.forget_compiled();
        if !attached {
            self.set_step(Step::None);
        }
        self.update_armed();
    }

    pub(super) fn forget_compiled(&self) {
        for live in self.compiled.take() {
            if let Some(live) = live.upgrade() {
                let slot = live.compiled.swap(0, Ordering::Relaxed);
                // SAFETY: the slot was taken by `luaL_ref`.
                unsafe { ffi::luaL_unref(self.aux, ffi::LUA_REGISTRYINDEX, slot) };
            }
        }
    }

    /// Sets what a step waits for.
    pub(super) fn set_step(&self, step: Step) {
        self.step.set(step);
        if step == Step::None {
            self.shared.attention.fetch_and(!STEPPING, Ordering::SeqCst);
        } else {
            self.shared.attention.fetch_or(STEPPING, Ordering::SeqCst);
        }
        self.update_armed();
    }

    fn update_armed(&self) {
        let armed = self.step.get() != Step::None || !self.active.borrow().sources.is_empty();
        self.armed.set(armed);
    }

    #[inline]
    pub(super) fn attention(&self) -> u32 {
        self.shared.attention.load(Ordering::Relaxed)
    }

    /// Whether an error under way must pass every `pcall`.
    pub(super) fn must_unwind(&self) -> bool {
        self.evaluation_over.get() || self.attention() & STOPPING != 0
    }

    /// Lets the debugger use memory that the program may not: where it looks,
    /// nothing could catch an error of the allocator.
    pub(super) fn unlimited<R>(&self, work: impl FnOnce() -> R) -> R {
        let limited = self.limited.borrow().clone();
        let lua = limited.and_then(|(lua, limit)| Some((lua.try_upgrade()?, limit)));
        let set = |limit: usize| {
            if let Some((lua, _)) = &lua
                && let Err(error) = lua.set_memory_limit(limit)
            {
                tracing::debug!("the memory limit stays: {error}");
            }
        };
        set(0);
        let result = work();
        set(lua.as_ref().map_or(0, |(_, limit)| *limit));
        result
    }

    /// Looks at flags and mail. To be called on the Lua thread, in `l`, where
    /// the program may stand still.
    pub(super) fn attend(&self, l: *mut lua_State) -> Verdict {
        loop {
            self.shared.take_pending();
            if self.shared.stop_request().is_some() {
                self.shared.attention.fetch_or(STOPPING, Ordering::SeqCst);
                return Verdict::Unwind;
            }
            self.refresh();
            // Where nothing runs, a pause waits for the first line.
            // SAFETY: `l` stands here.
            let runs = unsafe { layout::frames(l) }.next().is_some();
            if runs
                && self.shared.pause.swap(false, Ordering::SeqCst)
                && self.attached.get()
                && self.stop(l, StopReason::Pause) == Verdict::Unwind
            {
                return Verdict::Unwind;
            }
            match self.shared.next_letter() {
                Some(Mail::Visit(visit)) => self.visit(l, visit),
                Some(Mail::Resume(_) | Mail::Work(_)) => {}
                None => return Verdict::Go,
            }
        }
    }

    /// Waits in a native function until `ready`, serving the debugger meanwhile.
    /// Whoever sets `ready` kicks.
    pub(super) fn wait(&self, title: &str, ready: &AtomicBool) -> Waited {
        let l = running();
        self.shared.output.flush();
        let announce = Instant::now() + Duration::from_secs(1);
        let mut progress = None;
        let evaluating = self.attention() & EVALUATING != 0;
        let mut put_off = false;
        let waited = loop {
            if ready.load(Ordering::SeqCst) {
                break Waited::Done;
            }
            put_off |= evaluating && self.shared.take_pending();
            if evaluating && self.evaluation_ended().is_some() {
                break Waited::Stopped;
            }
            // What a front end evaluates cannot be stopped in turn.
            if !evaluating && self.attend(l) == Verdict::Unwind {
                break Waited::Stopped;
            }
            if ready.load(Ordering::SeqCst) {
                break Waited::Done;
            }
            let cancelled = self.shared.cancel_progress.load(Ordering::SeqCst);
            if progress.is_some_and(|id| id == cancelled) {
                break Waited::Cancelled;
            }
            let deadline = if evaluating {
                self.deadline.get()
            } else {
                progress.is_none().then_some(announce)
            };
            self.shared.wait(deadline);
            if progress.is_none() && Instant::now() >= announce && !evaluating {
                self.next_progress.set(self.next_progress.get() + 1);
                progress = Some(self.next_progress.get());
                self.report_progress(progress, title, ProgressPhase::Start);
            }
        };
        self.report_progress(progress, title, ProgressPhase::End);
        if put_off {
            self.shared.attention.fetch_or(PENDING, Ordering::SeqCst);
        }
        if !evaluating {
            // Breakpoints may have been set meanwhile.
            self.arm(l);
        }
        waited
    }

    fn report_progress(&self, id: Option<u32>, title: &str, phase: ProgressPhase) {
        if let Some(id) = id {
            let progress = Progress { id: id.into(), title: title.to_owned(), phase };
            self.shared.send(Event::Progress(progress));
        }
    }

    /// The text that replaces Lua's own words for exhausted memory.
    ///
    /// # Safety
    /// An error of status `LUA_ERRMEM` must be on top of the stack of `l`.
    pub(super) unsafe fn name_memory_error(&self, l: *mut lua_State) {
        if self.memory_message.get() != 0 {
            // SAFETY: replaces the top with a string that exists already.
            unsafe {
                ffi::lua_pop(l, 1);
                let slot = self.memory_message.get();
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, slot.into());
            }
        }
    }
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>, main: *mut lua_State, aux: *mut lua_State) -> Self {
        Self {
            shared,
            main,
            aux,
            epoch: Cell::new(0),
            armed: Cell::new(false),
            cache: UnsafeCell::new(vec![Entry::NONE; CACHE_SIZE].into_boxed_slice()),
            active: RefCell::default(),
            starts: RefCell::default(),
            step: Cell::new(Step::None),
            seen: Cell::new(None),
            stop: RefCell::new(None),
            deadline: Cell::new(None),
            evaluation_over: Cell::new(false),
            pure: Cell::new(false),
            frame: Cell::new((ptr::null_mut(), ptr::null_mut())),
            propagating: Cell::new(false),
            dead_traces: RefCell::default(),
            last_trace: RefCell::default(),
            filters: RefCell::default(),
            attached: Cell::new(false),
            compiled: RefCell::default(),
            limited: RefCell::default(),
            memory_message: Cell::new(0),
            next_progress: Cell::new(0),
            native_error: Cell::new(ptr::null()),
            thrower: Cell::new((ptr::null_mut(), ptr::null_mut())),
        }
    }

    /// Blocks until a debugger has said that it is configured.
    pub(super) fn wait_for_debugger(&self, l: *mut lua_State) -> Result<(), Failure> {
        self.shared.output.flush();
        self.shared.set_state(RunState::Waiting);
        loop {
            if self.shared.configured.load(Ordering::SeqCst) {
                return Ok(());
            }
            if self.attend(l) == Verdict::Unwind {
                let request = self.shared.stop_request().unwrap_or(StopRequest::Terminate);
                return Err(Failure::Stopped(request));
            }
            if !self.shared.configured.load(Ordering::SeqCst) {
                self.shared.wait(None);
            }
        }
    }

    /// Prepares the first line: the hook, if one is wanted, and a stop on entry.
    pub(super) fn arm_entry(&self) {
        self.refresh();
        if self.shared.entry.load(Ordering::SeqCst) {
            self.set_step(Step::Entry);
        }
        self.arm(self.main);
        if self.shared.pause.load(Ordering::SeqCst) {
            self.shared.kick();
        }
    }
}
