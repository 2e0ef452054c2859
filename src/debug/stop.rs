//! Stopping: deciding whether a breakpoint counts, standing still, going on.

#![allow(unsafe_code)]

use std::{
    fmt::Write as _,
    ptr,
    sync::{Arc, atomic::Ordering},
};

use mlua::ffi::lua_State;

use crate::{
    debug::{
        breakpoints::Live,
        condition::LogPart,
        core::{Core, Verdict},
        inspector::{Handles, Inspector},
        model::{Event, OutputCategory, Resume, StopReason},
        shared::{Mail, RunState, Visit},
        stack,
        step::Step,
    },
    lua::layout::{self, CallInfo},
};

/// A program that stands still.
pub(super) struct Stop {
    pub(super) l: *mut lua_State,
    pub(super) reason: StopReason,
    /// Stack slot of the error object on the auxiliary stack, for errors.
    pub(super) error: Option<std::ffi::c_int>,
    /// The coroutine that died of the error, above `l`.
    pub(super) dead: *mut lua_State,
}

impl Core {
    /// Whether a breakpoint counts: its condition holds and its hit condition
    /// too. A log point says its words and does not count.
    pub(super) fn is_hit(&self, l: *mut lua_State, frame: *mut CallInfo, live: &Arc<Live>) -> bool {
        if let Some(condition) = &live.condition {
            // SAFETY: `frame` runs, and this is its hook.
            let quick = unsafe { condition.decide(l, frame) };
            let holds = quick.unwrap_or_else(|| {
                let evaluate = || self.evaluate_condition(l, frame, live, &condition.text);
                self.unlimited(evaluate).unwrap_or_else(|message| {
                    if !live.complained.swap(true, Ordering::Relaxed) {
                        self.say(
                            l,
                            frame,
                            &format!(
                                "condition '{}' failed and counts as false: {message}\n",
                                condition.text
                            ),
                        );
                    }
                    false
                })
            });
            if !holds {
                return false;
            }
        }
        let hits = live.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if live.hit_condition.is_some_and(|condition| !condition.holds(hits)) {
            return false;
        }
        let Some(message) = &live.log_message else { return true };
        let mut text = String::new();
        for part in &message.parts {
            match part {
                LogPart::Text(words) => text.push_str(words),
                LogPart::Expression(expression) => {
                    match self.unlimited(|| self.evaluate_text(l, frame, expression)) {
                        Ok(value) => text.push_str(&value),
                        Err(message) => {
                            let _ = write!(text, "{{{expression}: {message}}}");
                        }
                    }
                }
            }
        }
        text.push('\n');
        self.say(l, frame, &text);
        false
    }

    /// Says something on the debug console.
    fn say(&self, l: *mut lua_State, frame: *mut CallInfo, text: &str) {
        let location = stack::location(self, l, frame);
        self.shared.output.write(OutputCategory::Console, text.as_bytes(), location);
    }

    /// Stands still in `l` until the front end lets go.
    pub(super) fn stop(&self, l: *mut lua_State, reason: StopReason) -> Verdict {
        self.stop_with(Stop { l, reason, error: None, dead: ptr::null_mut() })
    }

    /// Stands still, with an error object to show.
    pub(super) fn stop_with(&self, stop: Stop) -> Verdict {
        if !self.attached.get() || self.shared.passive.load(Ordering::SeqCst) {
            return Verdict::Go;
        }
        self.set_step(Step::None);
        let shared = &self.shared;
        let (l, dead) = (stop.l, stop.dead);
        let is_error = matches!(stop.reason, StopReason::Exception(_));
        let reason = stop.reason.clone();
        shared.output.flush();
        shared.pause.store(false, Ordering::SeqCst);
        *self.stop.borrow_mut() = Some(stop);
        shared.set_state(RunState::Stopped);
        shared.send(Event::Stopped(reason.clone()));
        let how = self.unlimited(|| self.stand_still(l, &reason));
        *self.stop.borrow_mut() = None;
        shared.output.flush();
        shared.set_state(RunState::Running);
        self.refresh();
        let Some(how) = how else {
            return self.attend(l);
        };
        // SAFETY: `l` has stood still.
        let from = if is_error || !dead.is_null() {
            ptr::null_mut()
        } else {
            unsafe { (*layout::state(l)).ci }
        };
        self.begin_step(l, how, from);
        // What has come meanwhile has woken a thread that stood still.
        if shared.has_news(self.epoch.get()) {
            shared.kick();
        }
        self.arm(l);
        Verdict::Go
    }

    /// Serves the front end; `None` if the program is to end.
    fn stand_still(&self, l: *mut lua_State, reason: &StopReason) -> Option<Resume> {
        let shared = &self.shared;
        let handles = Handles::default();
        loop {
            // What is not for a program that stands still is news afterwards.
            shared.take_pending();
            if shared.stop_request().is_some() {
                return None;
            }
            if !shared.attached() && !shared.held.load(Ordering::SeqCst) {
                return Some(Resume::Continue);
            }
            if shared.announce.swap(false, Ordering::SeqCst) {
                shared.tell_listener(Event::Stopped(reason.clone()));
            }
            match shared.next_letter() {
                Some(Mail::Visit(visit)) => visit(&Inspector::new(self, l, &handles)),
                Some(Mail::Resume(how)) => return Some(how),
                Some(Mail::Work(_)) => {}
                None => shared.wait(None),
            }
        }
    }

    /// Lets a front end look while the program is not stopped.
    pub(super) fn visit(&self, l: *mut lua_State, visit: Visit) {
        self.unlimited(|| visit(&Inspector::new(self, l, &Handles::default())));
    }
}
