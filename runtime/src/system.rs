//! What the operating system tells about itself and the process.

use std::fs;

/// How many threads the hardware runs at once, as far as this process may use them.
pub fn hardware_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Ties the calling thread to the `index`-th of the processors that the process may use.
pub fn pin_thread(index: usize) -> std::io::Result<()> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let processors: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let Some(cpu) = processors.get(index % processors.len().max(1)) else { return Ok(()) };
    let mut set = rustix::thread::CpuSet::new();
    set.set(*cpu);
    rustix::thread::sched_setaffinity(None, &set)?;
    Ok(())
}

/// The host's name.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Resident memory of the process, in bytes.
pub fn resident_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}
