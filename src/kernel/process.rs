//! This process: what it uses, whose it is, and with whom it ends.
//!
//! Everything is read when asked for; nothing is sampled in between.

#![allow(unsafe_code)]

use std::{fs, io, time::Duration};

/// What the process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is in RAM.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
    /// CPU time of all threads, in user and in system mode.
    pub cpu: Duration,
    /// Time since the process was started.
    pub uptime: Duration,
}

impl Usage {
    /// Reads it from the system.
    pub fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let stat = Stat::parse(&stat).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat has another format")
        })?;
        let entries = fs::read_dir("/proc/self/fd")?;
        let started = Duration::from_secs_f64(count(stat.start_ticks) / setting(libc::_SC_CLK_TCK));
        Ok(Self {
            resident_bytes: stat.resident_pages.saturating_mul(page_size()),
            // One of them is the directory that is being read.
            open_files: (entries.count() as u64).saturating_sub(1),
            threads: stat.threads,
            cpu: clock(libc::CLOCK_PROCESS_CPUTIME_ID)?,
            uptime: clock(libc::CLOCK_BOOTTIME)?.saturating_sub(started),
        })
    }
}

/// What of `/proc/PID/stat` is of use here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    threads: u64,
    start_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name comes second, in parentheses, and may have any in it.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Fields are numbered from 1 by proc(5), and the third comes first here.
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self { threads: field(20)?, start_ticks: field(22)?, resident_pages: field(24)? })
    }
}

// Ticks since the system's start: far below what a float counts exactly.
#[allow(clippy::cast_precision_loss)]
fn count(ticks: u64) -> f64 {
    ticks as f64
}

fn setting(name: libc::c_int) -> f64 {
    // SAFETY: takes a number and gives one.
    let value = unsafe { libc::sysconf(name) };
    f64::from(i32::try_from(value).unwrap_or(1).max(1))
}

fn page_size() -> u64 {
    // SAFETY: takes a number and gives one.
    let value = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(value).unwrap_or(4096)
}

fn clock(which: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into `time`, which outlives the call.
    if unsafe { libc::clock_gettime(which, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// The user whose rights this process has.
pub fn user() -> u32 {
    // SAFETY: takes nothing and always succeeds.
    unsafe { libc::geteuid() }
}

/// Whether a process exists, whoever owns it.
pub fn exists(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 0) else { return false };
    // SAFETY: signal 0 is not sent, only whether it could be is told.
    let sent = unsafe { libc::kill(pid, 0) };
    sent == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Has the system send SIGTERM to this process when its parent dies: a script
/// that an adapter started must not outlive an adapter that was killed.
///
/// Elsewhere than on Linux the script ends when the adapter's connection does.
pub fn end_with_parent() {
    #[cfg(target_os = "linux")]
    // SAFETY: changes a flag of this process; the arguments are numbers.
    unsafe {
        let parent = libc::getppid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
        // It may have died just before.
        if libc::getppid() != parent {
            libc::raise(libc::SIGTERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, sync::mpsc, thread};

    use super::*;

    #[test]
    fn what_is_used_is_counted() {
        let before = Usage::now().unwrap();
        let files: Vec<File> = (0..200).map(|_| File::open("/dev/null").unwrap()).collect();
        let memory = vec![1_u8; 64 << 20];
        let wait = || {
            let (sender, receiver) = mpsc::channel::<()>();
            (sender, thread::spawn(move || receiver.recv()))
        };
        let threads: Vec<_> = (0..40).map(|_| wait()).collect();
        let after = Usage::now().unwrap();
        // Other tests run beside this one, so these are bounds.
        assert!(after.open_files >= before.open_files + 100, "{before:?} {after:?}");
        assert!(after.threads >= before.threads + 20, "{before:?} {after:?}");
        assert!(after.resident_bytes >= 64 << 20, "{after:?} {}", memory.len());
        assert!(after.cpu > before.cpu && after.uptime >= before.uptime);
        assert!(after.uptime < Duration::from_hours(24));
        drop((files, threads));
    }

    #[test]
    fn a_name_may_hold_parentheses() {
        let mut fields: Vec<String> = (3..=52).map(|number| number.to_string()).collect();
        fields[0] = "S".to_owned();
        let stat = Stat::parse(&format!("1 (a) b (c) {}", fields.join(" ")));
        assert_eq!(stat, Some(Stat { threads: 20, start_ticks: 22, resident_pages: 24 }));
        assert_eq!(Stat::parse("1 (a) S 3"), None);
    }

    #[test]
    fn processes_exist_or_not() {
        assert!(exists(std::process::id()));
        assert!(exists(1), "that of somebody else");
        assert!(!exists(0) && !exists(u32::MAX));
    }
}
