//! From Lua's thread to the asynchronous world: native functions that wait.

use std::{
    future::Future,
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Runtime;

use crate::{
    api::Host,
    debug::{Control, Vm, Waited},
    session::EnableDap,
};

/// The process's runtime. Made when something first needs it: a script that
/// only computes starts without one.
///
/// # Errors
/// If its threads cannot be made.
pub fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("llmspell-io")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Drives a future on the runtime while the Lua thread serves debuggers, pauses
/// and cancellation. To be called from a native function on the Lua thread;
/// `title` is what the user sees if it takes more than a second.
///
/// # Errors
/// Why the future was abandoned; it has been dropped.
pub fn block_on<T: Send + 'static>(
    control: &Control,
    title: &str,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, Waited> {
    let Ok(runtime) = runtime() else { return Err(Waited::Stopped) };
    let ready = Arc::new(AtomicBool::new(false));
    let slot = Arc::new(Mutex::new(None));
    let task = {
        let (ready, slot, control) = (Arc::clone(&ready), Arc::clone(&slot), control.clone());
        runtime.spawn(async move {
            let value = future.await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            ready.store(true, Ordering::SeqCst);
            control.wake();
        })
    };
    match Vm::wait(title, &ready) {
        Waited::Done => {
            let value = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            value.ok_or(Waited::Stopped)
        }
        other => {
            task.abort();
            Err(other)
        }
    }
}

/// What the scripting API may ask of its session.
pub(super) struct SessionHost {
    control: Control,
    enable_dap: Option<EnableDap>,
}

impl SessionHost {
    pub(super) fn new(control: Control, enable_dap: Option<EnableDap>) -> Self {
        Self { control, enable_dap }
    }
}

impl Host for SessionHost {
    fn sleep(&self, duration: Duration) -> Result<(), Waited> {
        let title = format!("Async.sleep({})", duration.as_secs_f64());
        block_on(&self.control, &title, async move { tokio::time::sleep(duration).await })
    }

    fn control(&self) -> &Control {
        &self.control
    }

    fn enable_dap(&self, port: u16) -> Result<u16, String> {
        let enable = self.enable_dap.as_ref().ok_or("this session cannot open DAP")?;
        enable(&self.control, port)
    }

    fn wait_for_debugger(&self) -> Result<(), Waited> {
        Vm::wait_for_debugger()
    }
}
