//! The VM that the debugger watches, for those who run things on it.

#![allow(unsafe_code)]

use std::{
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use mlua::{Lua, LuaOptions, StdLib, ffi};

use crate::{
    debug::{
        calls, capture,
        control::Control,
        core::{Core, Link, Verdict, current, enter_thread, leave_thread, running},
        errors::{self, Failure},
        hook, loading,
        model::{Resume, StopReason},
        shared::{EVALUATING, Mail, RunState, Shared, StopRequest, Waited, Work},
        stack,
        step::Step,
    },
    lua::{layout, raw},
};

/// How a VM is made.
#[derive(Clone, Debug, Default)]
pub struct VmOptions {
    /// Most memory that Lua may use, in bytes; 0 for no limit.
    pub memory_limit: usize,
    /// Values of `arg`: the script at index 0, its arguments from 1.
    pub args: Vec<String>,
}

/// A Lua VM under the debug core. Stays on the thread that made it.
pub struct Vm {
    core: Box<Core>,
    /// Dropped by hand, before `core`: closing Lua still runs finalizers.
    lua: Option<Lua>,
    /// Below all coroutines; reached by pointer only.
    _base: Box<Link>,
}

impl Vm {
    /// Makes a VM on this thread, with the whole standard library.
    ///
    /// # Errors
    /// If the linked Lua is not the one this was built for, or memory is out.
    pub fn new(control: &Control, options: &VmOptions) -> Result<Self, String> {
        // SAFETY: scripts get the full library, `debug` and C modules included:
        // they are the user's own programs.
        let lua = unsafe {
            Lua::unsafe_new_with(StdLib::ALL, LuaOptions::new().catch_rust_panics(false))
        };
        let shared = Arc::clone(control.shared());
        shared.tables().start_over();
        let mut verified = Ok(());
        let (mut main, mut aux) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: runs protected, with twenty free stack slots.
        let prepared = unsafe {
            lua.exec_raw::<()>((), |l| {
                ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_MAINTHREAD);
                main = ffi::lua_tothread(l, -1);
                aux = ffi::lua_newthread(l);
                ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX);
                verified = layout::verify(l);
                ffi::lua_settop(l, 0);
            })
        };
        prepared.map_err(|error| error.to_string())?;
        verified?;
        let core = Box::new(Core::new(shared, main, aux));
        let base = Box::new(Link { running: main, previous: ptr::null(), wraps: false });
        enter_thread(&core, &base);
        let vm = Self { core, lua: Some(lua), _base: base };
        vm.install(options).map_err(|error| error.to_string())?;
        hook::handle_kicks();
        vm.core.shared.enter_thread();
        Ok(vm)
    }

    fn install(&self, options: &VmOptions) -> mlua::Result<()> {
        let lua = self.lua();
        let core = &self.core;
        errors::remember_native_errors(core, lua)?;
        // SAFETY: runs protected.
        unsafe {
            lua.exec_raw::<()>((), |l| {
                errors::remember_throwers(core, l);
                calls::install(l);
                loading::install(l);
                capture::install(l);
                if options.memory_limit > 0 {
                    raw::push_bytes(l, errors::MEMORY_LIMIT_EXCEEDED.as_bytes());
                    core.memory_message.set(ffi::luaL_ref(l, ffi::LUA_REGISTRYINDEX));
                }
            })?;
        }
        let arg = lua.create_table()?;
        for (index, value) in options.args.iter().enumerate() {
            arg.raw_set(index, value.as_str())?;
        }
        lua.globals().raw_set("arg", arg)?;
        if options.memory_limit > 0 {
            lua.set_memory_limit(options.memory_limit)?;
            *core.limited.borrow_mut() = Some((lua.weak(), options.memory_limit));
        }
        Ok(())
    }

    /// The VM, to give it more to call.
    ///
    /// # Panics
    /// Never: only `drop` closes it.
    pub fn lua(&self) -> &Lua {
        self.lua.as_ref().expect("the VM is open")
    }

    /// Waits, in a native function that Lua has called, until `ready` is set and
    /// [`Control::wake`] called; serves the debugger meanwhile. `title` is what
    /// the user sees if it takes long.
    ///
    /// Returns [`Waited::Stopped`] at once on a thread without a VM.
    pub fn wait(title: &str, ready: &AtomicBool) -> Waited {
        current().map_or(Waited::Stopped, |core| core.wait(title, ready))
    }

    /// Waits for work (and serves visits) until there is some.
    pub fn next_work(&self) -> Work {
        loop {
            let _ = self.core.attend(self.core.main);
            match self.core.shared.next_work() {
                Some(Mail::Work(work)) => return work,
                Some(Mail::Visit(visit)) => self.core.visit(self.core.main, visit),
                Some(Mail::Resume(_)) => {}
                None => self.core.shared.wait(None),
            }
        }
    }

    /// Compiles and runs a chunk, and returns its results as text.
    ///
    /// # Errors
    /// The error nothing caught, or why it was ended from outside.
    pub fn run(&self, program: &loading::Program) -> Result<Vec<String>, Failure> {
        let core = &self.core;
        // A request to end it may have come already: its debugger is fast.
        core.refresh();
        let compiled = loading::compile(core, program);
        let expected = core.shared.expected.load(Ordering::SeqCst);
        let waits = program.wait_for_debugger && (compiled.is_ok() || expected);
        let waited = if waits { core.wait_for_debugger(core.main) } else { Ok(()) };
        let outcome = waited.and(compiled).and_then(|()| {
            if let Some(request) = core.shared.stop_request() {
                return Err(Failure::Stopped(request));
            }
            core.shared.set_state(RunState::Running);
            core.arm_entry();
            let _watchdog = program.time_limit.map(|limit| Watchdog::start(&core.shared, limit));
            // SAFETY: the compiled chunk is on top of the main stack.
            unsafe { errors::call(core, program) }
        });
        core.set_step(Step::None);
        core.shared.clear_stop_request();
        core.shared.set_state(RunState::Idle);
        core.shared.output.flush();
        // SAFETY: nothing runs on the main state.
        unsafe {
            ffi::lua_settop(core.main, 0);
            ffi::lua_sethook(core.main, None, 0, 0);
        }
        outcome
    }

    /// Waits, in a native function, until a debugger is attached and configured.
    ///
    /// # Errors
    /// If the program is being ended.
    pub fn wait_for_debugger() -> Result<(), Waited> {
        let Some(core) = current() else { return Ok(()) };
        let l = running();
        let waited = core.wait_for_debugger(l).map_err(|_| Waited::Stopped);
        core.shared.set_state(RunState::Running);
        core.refresh();
        core.arm(l);
        waited
    }

    /// Stops the program where the native function that calls this was called;
    /// `false` if no debugger is attached.
    ///
    /// # Errors
    /// If the program is being ended: the native function returns at once.
    pub fn break_here() -> Result<bool, Waited> {
        let Some(core) = current() else { return Ok(false) };
        core.refresh();
        if !core.attached.get() || core.attention() & EVALUATING != 0 {
            return Ok(false);
        }
        match core.stop(running(), StopReason::Breakpoint(Vec::new())) {
            Verdict::Go => Ok(true),
            Verdict::Unwind => Err(Waited::Stopped),
        }
    }

    /// Begins a step at the Lua function that called this native one; `false` if
    /// no debugger is attached.
    pub fn step_here(how: Resume) -> bool {
        let Some(core) = current() else { return false };
        core.refresh();
        if !core.attached.get() || core.attention() & EVALUATING != 0 {
            return false;
        }
        let l = running();
        // SAFETY: `l` stands in a native function.
        let caller = unsafe { layout::frames(l) }.find(|&frame| unsafe { (*frame).is_lua() });
        core.begin_step(l, how, caller.unwrap_or(ptr::null_mut()));
        core.arm(l);
        true
    }

    /// The call stack as text, from the Lua function that called this native one.
    pub fn traceback() -> String {
        current().map_or_else(String::new, |core| stack::full_traceback(core, running(), 1))
    }
}

/// Ends the program when its time is up; dropped when it is over.
struct Watchdog {
    _over: mpsc::Sender<()>,
}

impl Watchdog {
    fn start(shared: &Arc<Shared>, limit: Duration) -> Self {
        let (over, is_over) = mpsc::channel::<()>();
        let shared = Arc::downgrade(shared);
        let watch = move || {
            if is_over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)
                && let Some(shared) = shared.upgrade()
            {
                shared.request_stop(StopRequest::Timeout);
            }
        };
        let name = "llmspell-watchdog".to_owned();
        if let Err(error) = std::thread::Builder::new().name(name).spawn(watch) {
            tracing::warn!("the time limit is not watched: {error}");
        }
        Self { _over: over }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.core.forget_compiled();
        // Kicks must not touch what is being freed; they are for the next VM.
        hook::hold_kicks(|| {
            // Finalizers may write.
            drop(self.lua.take());
            self.core.shared.output.flush();
            leave_thread();
        });
    }
}
