//! `Debug.timer` and `Debug.performanceReport`.

use std::{
    cell::RefCell,
    fmt::Write as _,
    rc::Rc,
    time::{Duration, Instant},
};

use mlua::{Lua, Table, UserData, UserDataMethods};

pub(super) fn install(lua: &Lua, debug: &Table) -> mlua::Result<()> {
    let measured = Rc::new(RefCell::new(Vec::<Measured>::new()));
    let timers = Rc::clone(&measured);
    let timer = lua.create_function(move |_, name: String| {
        timers.borrow_mut().push(Measured { name, laps: Vec::new(), total: None });
        let index = timers.borrow().len() - 1;
        let now = Instant::now();
        Ok(Timer { timers: Rc::clone(&timers), index, started: now, lapped: now })
    })?;
    debug.raw_set("timer", timer)?;
    let report = lua.create_function(move |_, ()| Ok(report(&measured.borrow())))?;
    debug.raw_set("performanceReport", report)
}

/// What one timer has measured.
struct Measured {
    name: String,
    laps: Vec<(String, Duration)>,
    /// Set when it is stopped.
    total: Option<Duration>,
}

struct Timer {
    timers: Rc<RefCell<Vec<Measured>>>,
    index: usize,
    started: Instant,
    lapped: Instant,
}

impl Timer {
    fn with<R>(&self, use_it: impl FnOnce(&mut Measured) -> R) -> R {
        use_it(&mut self.timers.borrow_mut()[self.index])
    }

    /// Time since the start, or between start and stop.
    fn elapsed(&self) -> Duration {
        self.with(|measured| measured.total).unwrap_or_else(|| self.started.elapsed())
    }
}

impl UserData for Timer {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method_mut("lap", |_, timer, name: String| {
            let now = Instant::now();
            let lap = now - timer.lapped;
            timer.lapped = now;
            timer.with(|measured| measured.laps.push((name, lap)));
            Ok(milliseconds(lap))
        });
        methods.add_method("elapsed", |_, timer, ()| Ok(milliseconds(timer.elapsed())));
        methods.add_method("stop", |_, timer, ()| {
            let total = timer.elapsed();
            timer.with(|measured| measured.total = Some(total));
            Ok(milliseconds(total))
        });
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A table: a row for each name with its runs, a row for each of its laps.
fn report(timers: &[Measured]) -> String {
    let mut rows: Vec<(String, Vec<f64>)> = Vec::new();
    let mut add = |name: String, duration: Duration| {
        let value = milliseconds(duration);
        match rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => rows.push((name, vec![value])),
        }
    };
    for timer in timers {
        if let Some(total) = timer.total {
            add(timer.name.clone(), total);
        }
        for (lap, duration) in &timer.laps {
            add(format!("  {} / {lap}", timer.name), *duration);
        }
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "{:width$} {:>6} {:>11} {:>11} {:>11} {:>11}\n",
        "timer", "count", "total ms", "mean ms", "min ms", "max ms"
    );
    for (name, values) in rows {
        let total: f64 = values.iter().sum();
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(0.0, f64::max);
        let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let mean = total / f64::from(count);
        let _ = writeln!(
            text,
            "{name:width$} {count:>6} {total:>11.3} {mean:>11.3} {min:>11.3} {max:>11.3}"
        );
    }
    text
}
