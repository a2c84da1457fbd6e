//! Why a proxy did not start, an update was refused, or a call on a handle came to nothing.

use crate::run::UpdateError;
use crate::start::StartError;
use std::fmt;
use std::io;
use weir_core::config::v3::Diagnostic;

/// Why a proxy did not start, or a config is not in force. Nothing of it is: what was opened is closed again.
#[derive(Debug)]
pub struct Failure {
    /// What kind of thing went wrong.
    pub kind: FailureKind,
    /// What went wrong, in one line.
    pub message: String,
    /// What to do about it, if it is more than to put right what the message names.
    pub help: Option<String>,
    /// What is wrong with the config, in the order of the file; warnings are among it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Why a proxy did not start.
pub type StartFailure = Failure;
/// Why a config is not in force, and the one before goes on.
pub type UpdateFailure = Failure;

/// What kind of thing went wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The options.
    Options,
    /// The config: see the diagnostics.
    Config,
    /// An address of a listener or of the admin page cannot be listened on.
    Listen,
    /// A name does not resolve.
    Resolve,
    /// A file or folder cannot be opened or made.
    File,
    /// The system refuses something else.
    System,
    /// The proxy drains, or has ended: its config is not changed any more.
    Over,
    /// The call came from one of the proxy's own threads, which it would have waited for.
    OwnThread,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), help: None, diagnostics: Vec::new() }
    }

    pub(super) fn of_update(error: UpdateError) -> Failure {
        match error {
            UpdateError::Failed(error) => error.into(),
            UpdateError::Draining => Failure::new(FailureKind::Over, error.to_string()),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        let message = error.to_string();
        let (kind, help) = match &error {
            StartError::Config { path, errors, .. } => {
                let findings = if *errors == 1 { "finding" } else { "findings" };
                let mut failure =
                    Failure::new(FailureKind::Config, format!("the config {} was refused: {errors} {findings}", path.display()));
                if let StartError::Config { findings, .. } = error {
                    failure.diagnostics = findings;
                }
                return failure;
            }
            StartError::Listen { address, error, .. } => (
                FailureKind::Listen,
                match error.kind() {
                    io::ErrorKind::AddrInUse => Some(format!(
                        "something listens on port {} already, perhaps another proxy of this process: end it, or choose another port; 0 takes any that is free",
                        address.port()
                    )),
                    io::ErrorKind::PermissionDenied => Some("ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()),
                    io::ErrorKind::AddrNotAvailable => Some(format!("{} is no address of this machine", address.ip())),
                    _ => None,
                },
            ),
            StartError::Resolve { .. } => (FailureKind::Resolve, None),
            StartError::Read { .. } | StartError::AccessLog(_) | StartError::Record { .. } => (FailureKind::File, None),
            StartError::System(_) => (FailureKind::System, None),
        };
        Failure { help, ..Failure::new(kind, message) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        self.diagnostics.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

impl std::error::Error for Failure {}

/// Why a call on a handle came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The proxy has drained, failed, or was stopped.
    #[error("the proxy has ended")]
    Ended,
    /// A drain has begun: nothing new begins.
    #[error("the proxy drains: nothing new begins")]
    Draining,
    /// The call came from one of the proxy's own threads, which it would have waited for.
    #[error("this was called from one of the proxy's own threads, which it would have to wait for")]
    OwnThread,
    /// No listener has this name.
    #[error("no listener is called `{0}`")]
    UnknownListener(String),
    /// What was asked for is not possible, and why.
    #[error("{0}")]
    Invalid(String),
}
