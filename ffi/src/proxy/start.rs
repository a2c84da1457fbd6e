//! Starting a proxy and giving it another config.

use super::{ProxyObject, failed, of, weir_proxy};
use crate::config::{WEIR_ALLOW_UNSUPPORTED, check_diagnostics, check_flags, give_diagnostics, read_file, weir_diagnostics};
use crate::filter::{registry, weir_filters};
use crate::memory::{self, versioned, weir_str};
use crate::result::{Fault, enter, weir_result};
use std::os::raw::c_void;
use std::sync::Arc;
use std::time::Duration;
use weir::embed::{Level, OnUnsupported, Options, Proxy, Record};

/// How bad a line of the log is.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_level {
    /// The default: what an operator wants to know.
    WEIR_LEVEL_DEFAULT = 0,
    /// Everything.
    WEIR_LEVEL_TRACE = 1,
    /// What a developer wants to know.
    WEIR_LEVEL_DEBUG = 2,
    /// What an operator wants to know.
    WEIR_LEVEL_INFO = 3,
    /// What may become a problem.
    WEIR_LEVEL_WARN = 4,
    /// What is one.
    WEIR_LEVEL_ERROR = 5,
    /// Nothing.
    WEIR_LEVEL_OFF = 6,
}

/// Takes a line of the log, without its end. It is called on the proxy's threads, on several at once, and should be quick.
/// The line lives until it returns.
pub type weir_log_fn = Option<unsafe extern "C" fn(data: *mut c_void, level: u32, line: weir_str)>;

/// What a host chooses for a proxy. All zero is the default.
#[repr(C)]
#[derive(Copy, Clone)]
pub struct weir_proxy_options {
    /// `sizeof(struct weir_proxy_options)`, set by the host.
    pub size: usize,
    /// Worker threads, up to 1024; 0 for one, `WEIR_ALL_PROCESSORS` for as many as the hardware runs at once.
    pub workers: u32,
    /// `WEIR_ALLOW_UNSUPPORTED`, or 0.
    pub flags: u32,
    /// Nanoseconds that a drain may take before what is left is cut; 0 for ten minutes.
    pub drain_time: u64,
    /// How much is logged: one of `weir_level`.
    pub log_level: u32,
    /// Not 0: all that is drawn is drawn from `seed`, not from one of the system's.
    pub has_seed: u32,
    /// See `has_seed`.
    pub seed: u64,
    /// Takes the lines of the log; NULL for nobody. Nothing is ever written to stdout or stderr instead.
    pub log: weir_log_fn,
    /// Given to `log`. It must live until the proxy is freed.
    pub log_data: *mut c_void,
    /// For `%HOSTNAME%` in access logs; empty for the system's.
    pub hostname: weir_str,
    /// A folder: what decides everything is recorded, to be written there by `weir_proxy_write_input_logs` and when a worker
    /// panics. Empty for no recording.
    pub record_folder: weir_str,
    /// MiB of the past that each worker keeps; 0 for 64.
    pub record_mib: u32,
    /// Not 0: with the bytes of bodies, not only their lengths and digests.
    pub record_bodies: u32,
    /// The host's own filters, for configs that name them, updates too; NULL for none.
    pub filters: *const weir_filters,
}
versioned!(weir_proxy_options, 104);

/// For `weir_proxy_options.workers`: as many as the hardware runs at once.
pub const WEIR_ALL_PROCESSORS: u32 = u32::MAX;

/// What the host gave for its log, and its promise that `data` may be used on any thread.
struct HostLog {
    call: unsafe extern "C" fn(*mut c_void, u32, weir_str),
    data: *mut c_void,
}

// SAFETY: the header says that the function is called on the proxy's threads, several at once.
unsafe impl Send for HostLog {}
// SAFETY: as above.
unsafe impl Sync for HostLog {}

impl HostLog {
    fn line(&self, level: Level, line: &str) {
        // SAFETY: the host answers for its function.
        unsafe { (self.call)(self.data, level_number(level), weir_str::of(line)) };
    }
}

fn level_number(level: Level) -> u32 {
    let level = match level {
        Level::Trace => weir_level::WEIR_LEVEL_TRACE,
        Level::Debug => weir_level::WEIR_LEVEL_DEBUG,
        Level::Info => weir_level::WEIR_LEVEL_INFO,
        Level::Warn => weir_level::WEIR_LEVEL_WARN,
        Level::Error => weir_level::WEIR_LEVEL_ERROR,
        Level::Off => weir_level::WEIR_LEVEL_OFF,
    };
    level as u32
}

/// # Safety
/// `options` must be NULL or of the size that it says, with texts that have the bytes that they say.
unsafe fn read_options(options: *const weir_proxy_options) -> Result<Options, Fault> {
    let mut read = Options::default();
    if options.is_null() {
        return Ok(read);
    }
    // SAFETY: the caller answers for it.
    let (given, hostname, folder) = unsafe {
        let given = memory::read(options, "options")?;
        (given, given.hostname.text("options.hostname")?, given.record_folder.text("options.record_folder")?)
    };
    check_flags(given.flags)?;
    read.filters = registry(given.filters)?;
    read.workers = match given.workers {
        0 => Some(1),
        WEIR_ALL_PROCESSORS => None,
        count => match u16::try_from(count) {
            Ok(count) if count <= 1024 => Some(count),
            _ => return Err(Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("`options.workers` is {count}; it is 1024 at the most"))),
        },
    };
    if given.drain_time > 0 {
        read.drain_time = Duration::from_nanos(given.drain_time);
    }
    if given.flags & WEIR_ALLOW_UNSUPPORTED != 0 {
        read.on_unsupported = OnUnsupported::Warn;
    }
    read.log_level = match given.log_level {
        0 | 3 => Level::Info,
        1 => Level::Trace,
        2 => Level::Debug,
        4 => Level::Warn,
        5 => Level::Error,
        6 => Level::Off,
        other => {
            return Err(Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("`options.log_level` is {other}; see enum weir_level")));
        }
    };
    if let Some(call) = given.log {
        let log = HostLog { call, data: given.log_data };
        read.log = Some(Arc::new(move |level, line: &str| log.line(level, line)));
    }
    read.hostname = Some(hostname).filter(|name| !name.is_empty()).map(str::to_owned);
    read.seed = (given.has_seed != 0).then_some(given.seed);
    if !folder.is_empty() {
        let mib = if given.record_mib == 0 { 64 } else { given.record_mib };
        read.record = Some(Record { folder: folder.into(), mib, bodies: given.record_bodies != 0 });
    }
    Ok(read)
}

/// Starts a proxy from Envoy's v3 bootstrap, as YAML or JSON. When it returns, everything listens; a port of 0 takes any
/// that is free: see `weir_proxy_listener`. `file` is the name that findings use. `options` may be NULL.
///
/// `diagnostics`, unless NULL, gets what was found in the config, with `WEIR_OK` and with `WEIR_CONFIG_REFUSED`; it is NULL
/// otherwise. On any failure nothing is left open.
///
/// The proxy never touches signals, the environment, stdout or stderr; only access logs that the config sends there. Access
/// logs aside, it says what it has to say to `options.log`. Any thread. End it with `weir_proxy_free`.
///
/// # Safety
/// The texts must have the bytes that they say; `options` must be of the size that it says; `out` and `diagnostics` must be
/// valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_start(
    config: weir_str,
    file: weir_str,
    options: *const weir_proxy_options,
    out: *mut *mut weir_proxy,
    diagnostics: *mut *mut weir_diagnostics,
) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        check_diagnostics(diagnostics)?;
        // SAFETY: the caller answers for them.
        let (options, config, file) = unsafe { (read_options(options)?, config.text("config")?, file.text("file")?) };
        // SAFETY: the caller answers for them.
        unsafe { start(options, config, file, out, diagnostics) }
    })
}

/// As `weir_proxy_start`, with the config in the file at `path`.
///
/// # Safety
/// As for `weir_proxy_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_start_file(
    path: weir_str,
    options: *const weir_proxy_options,
    out: *mut *mut weir_proxy,
    diagnostics: *mut *mut weir_diagnostics,
) -> weir_result {
    enter(|| {
        memory::check_out(out, "out")?;
        check_diagnostics(diagnostics)?;
        // SAFETY: the caller answers for them.
        let (options, path) = unsafe { (read_options(options)?, path.text("path")?) };
        let config = read_file(path)?;
        // SAFETY: the caller answers for them.
        unsafe { start(options, &config, path, out, diagnostics) }
    })
}

/// # Safety
/// `out` and `diagnostics` must be valid for writing, or NULL.
unsafe fn start(
    options: Options,
    config: &str,
    file: &str,
    out: *mut *mut weir_proxy,
    diagnostics: *mut *mut weir_diagnostics,
) -> Result<weir_result, Fault> {
    let file = if file.is_empty() { "config" } else { file };
    match Proxy::start(options, config, file) {
        // SAFETY: the caller answers for them.
        Ok(proxy) => unsafe {
            give_diagnostics(proxy.warnings().to_vec(), diagnostics)?;
            memory::give(ProxyObject(Arc::new(proxy)), out)?;
            Ok(weir_result::WEIR_OK)
        },
        Err(failure) => {
            let fault = failed(&failure);
            // SAFETY: the caller answers for it.
            unsafe { give_diagnostics(failure.diagnostics, diagnostics)? };
            Err(fault)
        }
    }
}

/// Goes on with another config. Returns once it is in force. Exchanges under way keep the one that they began with; listeners
/// that leave take what the kernel has accepted for them. On any failure nothing has changed. `diagnostics` as for
/// `weir_proxy_start`.
///
/// # Safety
/// The texts must have the bytes that they say; `diagnostics` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_proxy_update(
    proxy: *mut weir_proxy,
    config: weir_str,
    file: weir_str,
    diagnostics: *mut *mut weir_diagnostics,
) -> weir_result {
    enter(|| {
        check_diagnostics(diagnostics)?;
        // SAFETY: the caller answers for them.
        let (config, file) = unsafe { (config.text("config")?, file.text("file")?) };
        let updated = of(proxy)?.update_config(config, if file.is_empty() { "config" } else { file });
        let (found, fault) = match updated {
            Ok(found) => (found, None),
            Err(failure) => {
                let fault = failed(&failure);
                (failure.diagnostics, Some(fault))
            }
        };
        // SAFETY: the caller answers for it.
        unsafe { give_diagnostics(found, diagnostics)? };
        fault.map_or(Ok(weir_result::WEIR_OK), Err)
    })
}
