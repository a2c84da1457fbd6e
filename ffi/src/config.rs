//! Configs: Envoy's v3 bootstrap as text, and what is wrong with one.

use crate::address::weir_address;
use crate::filter::{registry, weir_filters};
use crate::handle;
use crate::memory::{self, versioned, weir_str};
use crate::result::{Fault, enter, weir_result};
use std::sync::Arc;
use weir_core::config::v3::{self, Diagnostic, Severity};
use weir_core::config::{Config, LogSink};
use weir_core::filter::Registry;

/// A config that was loaded: Envoy's v3 bootstrap. It never changes; engines may outlive it.
#[derive(Debug)]
pub struct weir_config {
    _opaque: [u8; 0],
}

/// What loading a config has found.
#[derive(Debug)]
pub struct weir_diagnostics {
    _opaque: [u8; 0],
}

/// How bad a finding is.
#[repr(C)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum weir_severity {
    /// The config is wrong, and refused.
    WEIR_ERROR = 0,
    /// The config is right, but Weir does not do what it says: refused, unless `WEIR_ALLOW_UNSUPPORTED` is given.
    WEIR_UNSUPPORTED = 1,
    /// It works, but perhaps not as meant.
    WEIR_WARNING = 2,
}

/// One finding. Its texts live until the diagnostics are freed.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_diagnostic {
    /// `sizeof(struct weir_diagnostic)`, set by the host.
    pub size: usize,
    /// A `weir_severity`.
    pub severity: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// The name of the file.
    pub file: weir_str,
    /// The field: `static_resources.clusters[0].name`.
    pub field: weir_str,
    /// What is wrong.
    pub message: weir_str,
    /// What would be right; empty if nobody knows.
    pub help: weir_str,
}
versioned!(weir_diagnostic, 88);

/// For `weir_config_load`: take fields that Weir does not honour as warnings.
pub const WEIR_ALLOW_UNSUPPORTED: u32 = 1;

#[derive(Debug)]
pub(crate) struct ConfigObject {
    pub(crate) config: Arc<Config>,
    /// Of the host's, those that it was loaded with.
    filters: Registry,
}

impl ConfigObject {
    pub(crate) fn parts(&self) -> (Arc<Config>, Registry) {
        (Arc::clone(&self.config), self.filters.clone())
    }
}

/// The config, for an engine that had one with these access logs: they keep their numbers, so that lines of exchanges that began
/// before go where they should.
pub(crate) fn following(config: Arc<Config>, filters: &Registry, sinks: &[LogSink]) -> Arc<Config> {
    if config.sinks.starts_with(sinks) {
        return config;
    }
    let again = v3::load_with(&config.source.text, &config.source.file, sinks, filters).config;
    again.map_or(config, Arc::new)
}

#[derive(Debug)]
pub(crate) struct DiagnosticsObject {
    pub(crate) found: Vec<Diagnostic>,
}

/// Whether a finding keeps a config from being used.
pub(crate) fn is_fatal(finding: &Diagnostic, flags: u32) -> bool {
    match finding.severity {
        Severity::Error => true,
        Severity::Unsupported => flags & WEIR_ALLOW_UNSUPPORTED == 0,
        Severity::Warning => false,
    }
}

/// Checks, before anything is done, that findings can be given to C if it wants them.
pub(crate) fn check_diagnostics(out: *mut *mut weir_diagnostics) -> Result<(), Fault> {
    if out.is_null() { Ok(()) } else { memory::check_out(out, "diagnostics") }
}

/// Gives findings to C, if it wants them.
///
/// # Safety
/// `out` must be valid for writing, or NULL.
pub(crate) unsafe fn give_diagnostics(found: Vec<Diagnostic>, out: *mut *mut weir_diagnostics) -> Result<(), Fault> {
    match out.is_null() {
        true => Ok(()),
        // SAFETY: the caller answers for it.
        false => unsafe { memory::give(DiagnosticsObject { found }, out) },
    }
}

/// The words of a refusal: the first finding, and how many more there are.
pub(crate) fn refusal(found: &[Diagnostic], flags: u32) -> Fault {
    let mut fatal = found.iter().filter(|finding| is_fatal(finding, flags));
    let mut words = fatal.next().map_or_else(|| "the config is refused".to_owned(), ToString::to_string);
    match fatal.count() {
        0 => {}
        1 => words.push_str(" (and one more)"),
        more => words.push_str(&format!(" (and {more} more)")),
    }
    Fault::new(weir_result::WEIR_CONFIG_REFUSED, words)
}

/// Loads Envoy's v3 bootstrap from YAML or JSON. `file` is the name that findings use. `flags` is 0 or
/// `WEIR_ALLOW_UNSUPPORTED`.
///
/// `diagnostics`, unless NULL, gets what was found, both with `WEIR_OK` and with `WEIR_CONFIG_REFUSED`; free it with
/// `weir_diagnostics_free`. The words of `weir_last_error` have the first error. TLS is the host's in tier 1: the files
/// that TLS settings name are not looked at.
///
/// Any thread. The config is freed with `weir_config_free`.
///
/// # Safety
/// The texts must have the bytes that they say; `out` and `diagnostics` must be valid for writing, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_config_load(
    text: weir_str,
    file: weir_str,
    flags: u32,
    out: *mut *mut weir_config,
    diagnostics: *mut *mut weir_diagnostics,
) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for the texts and the pointers.
        unsafe {
            let (text, file) = (text.text("text")?, file.text("file")?);
            load(text, if file.is_empty() { "config" } else { file }, (flags, &Registry::default()), out, diagnostics)
        }
    })
}

/// As `weir_config_load`, for a config that may name these filters of the host's; NULL for none.
///
/// # Safety
/// As for `weir_config_load`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_config_load_with(
    filters: *const weir_filters,
    text: weir_str,
    file: weir_str,
    flags: u32,
    out: *mut *mut weir_config,
    diagnostics: *mut *mut weir_diagnostics,
) -> weir_result {
    enter(|| {
        let filters = registry(filters)?;
        // SAFETY: the caller answers for the texts and the pointers.
        unsafe {
            let (text, file) = (text.text("text")?, file.text("file")?);
            load(text, if file.is_empty() { "config" } else { file }, (flags, &filters), out, diagnostics)
        }
    })
}

/// As `weir_config_load`, with the config in the file at `path`.
///
/// # Safety
/// As for `weir_config_load`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_config_load_file(
    path: weir_str,
    flags: u32,
    out: *mut *mut weir_config,
    diagnostics: *mut *mut weir_diagnostics,
) -> weir_result {
    enter(|| {
        // SAFETY: the caller answers for the text and the pointers.
        unsafe {
            let path = path.text("path")?;
            load(&read_file(path)?, path, (flags, &Registry::default()), out, diagnostics)
        }
    })
}

pub(crate) fn read_file(path: &str) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(|error| Fault::new(weir_result::WEIR_FILE_FAILED, format_args!("cannot read {path}: {error}")))
}

/// # Safety
/// `out` and `diagnostics` must be valid for writing, or NULL.
unsafe fn load(
    text: &str,
    file: &str,
    (flags, filters): (u32, &Registry),
    out: *mut *mut weir_config,
    diagnostics: *mut *mut weir_diagnostics,
) -> Result<weir_result, Fault> {
    memory::check_out(out, "out")?;
    check_diagnostics(diagnostics)?;
    check_flags(flags)?;
    let loaded = v3::load_with(text, file, &[], filters);
    let refused = loaded.diagnostics.iter().any(|finding| is_fatal(finding, flags));
    let fault = refusal(&loaded.diagnostics, flags);
    // SAFETY: the caller answers for the pointers.
    unsafe {
        give_diagnostics(loaded.diagnostics, diagnostics)?;
        match loaded.config {
            Some(config) if !refused => {
                memory::give(ConfigObject { config: Arc::new(config), filters: filters.clone() }, out)?;
                Ok(weir_result::WEIR_OK)
            }
            _ => Err(fault),
        }
    }
}

pub(crate) fn check_flags(flags: u32) -> Result<(), Fault> {
    match flags & !WEIR_ALLOW_UNSUPPORTED {
        0 => Ok(()),
        unknown => Err(Fault::new(weir_result::WEIR_BAD_VALUE, format_args!("`flags` has unknown bits: {unknown:#x}"))),
    }
}

/// Frees a config. NULL is allowed and does nothing. Engines that run it keep what they need.
#[unsafe(no_mangle)]
pub extern "C" fn weir_config_free(config: *mut weir_config) -> weir_result {
    memory::free::<ConfigObject>(config as usize)
}

/// A listener of a config. Its texts live until the config is freed.
#[repr(C)]
#[derive(Copy, Clone, Debug)]
pub struct weir_listener {
    /// `sizeof(struct weir_listener)`, set by the host.
    pub size: usize,
    /// Its name: for `weir_engine_listener`.
    pub name: weir_str,
    /// Where to listen.
    pub address: weir_address,
    /// How many connections the kernel may queue.
    pub backlog: u32,
    /// 1 if each of several engines may have a socket of its own (`SO_REUSEPORT`).
    pub reuse_port: u32,
}
versioned!(weir_listener, 56);

/// The listener at `index`, from 0, in the order of the config. `WEIR_NONE` if there are not so many.
///
/// # Safety
/// `out` must be a struct of the size that its first field says, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_config_listener(config: *const weir_config, index: usize, out: *mut weir_listener) -> weir_result {
    enter(|| {
        memory::check_versioned(out, "out")?;
        handle::with::<ConfigObject, _>(config as usize, |object| {
            let Some(listener) = object.config.listeners.get(index) else { return Ok(weir_result::WEIR_NONE) };
            let value = weir_listener {
                name: weir_str::of(&listener.name),
                address: weir_address::of(listener.bind.address),
                backlog: listener.bind.backlog,
                reuse_port: u32::from(listener.bind.reuse_port),
                ..memory::Versioned::fresh()
            };
            // SAFETY: the caller answers for it.
            unsafe { memory::write(out, &value, "out")? };
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// How many findings there are; 0 for NULL and for what are no diagnostics.
///
/// One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn weir_diagnostics_count(diagnostics: *const weir_diagnostics) -> usize {
    handle::with::<DiagnosticsObject, _>(diagnostics as usize, |object| Ok(object.found.len())).unwrap_or(0)
}

/// The finding at `index`, from 0, in the order of the file. `WEIR_NONE` if there are not so many.
///
/// One thread at a time.
///
/// # Safety
/// `out` must be a struct of the size that its first field says, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn weir_diagnostics_get(
    diagnostics: *const weir_diagnostics,
    index: usize,
    out: *mut weir_diagnostic,
) -> weir_result {
    enter(|| {
        memory::check_versioned(out, "out")?;
        handle::with::<DiagnosticsObject, _>(diagnostics as usize, |object| {
            let Some(finding) = object.found.get(index) else { return Ok(weir_result::WEIR_NONE) };
            let value = weir_diagnostic {
                severity: match finding.severity {
                    Severity::Error => weir_severity::WEIR_ERROR as u32,
                    Severity::Unsupported => weir_severity::WEIR_UNSUPPORTED as u32,
                    Severity::Warning => weir_severity::WEIR_WARNING as u32,
                },
                line: finding.pos.line,
                column: finding.pos.column,
                file: weir_str::of(&finding.file),
                field: weir_str::of(&finding.path),
                message: weir_str::of(&finding.message),
                help: finding.help.as_deref().map_or(weir_str::EMPTY, weir_str::of),
                ..memory::Versioned::fresh()
            };
            // SAFETY: the caller answers for it.
            unsafe { memory::write(out, &value, "out")? };
            Ok(weir_result::WEIR_OK)
        })
    })
}

/// Frees diagnostics and their texts. NULL is allowed and does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn weir_diagnostics_free(diagnostics: *mut weir_diagnostics) -> weir_result {
    memory::free::<DiagnosticsObject>(diagnostics as usize)
}
