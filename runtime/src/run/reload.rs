//! A config, or the files of its certificates, read again while the proxy runs. Whatever is wrong, what runs goes on.

use super::Primary;
use crate::access_log::{self};
use crate::command::Command;
use crate::net::Net;
use crate::start::{Ready, StartError, load_text, open_listener, read, resolve_all};
use crate::tls::Table;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;
use weir_core::config::Bind;
use weir_core::config::v3::{Diagnostic, Severity};
use weir_core::stats::{Scope, SecretStat};

/// A config to go on with.
#[derive(Debug)]
pub struct Update {
    /// Its text.
    pub text: String,
    /// Its name, for diagnostics.
    pub file: PathBuf,
    /// Where to say what came of it: what was found, if the config is in force.
    pub done: oneshot::Sender<Result<Vec<Diagnostic>, UpdateError>>,
}

/// What a new config came to.
struct Applied {
    /// It is not the one before.
    changed: bool,
    findings: Vec<Diagnostic>,
}

/// Why a config is not in force.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// A drain has begun.
    #[error("the proxy drains: its config is not changed any more")]
    Draining,
    /// It is wrong, or something that it needs cannot be had.
    #[error(transparent)]
    Failed(#[from] StartError),
}

impl<N: Net + Send + Sync> Primary<N> {
    /// Reads the config again. Whatever is wrong with it, what runs goes on as it is.
    pub(super) async fn reload(&mut self) {
        if self.draining {
            return tracing::warn!("draining: the config is not read again");
        }
        let file = self.args.config.clone();
        let applied = match read(&file) {
            Ok(text) => self.apply(text, file).await,
            Err(error) => Err(error),
        };
        match applied.map(|applied| applied.changed) {
            Ok(true) => tracing::info!("the config {} was reloaded", self.args.config.display()),
            Ok(false) => tracing::info!("the config {} has not changed", self.args.config.display()),
            Err(error) => tracing::error!("reload failed, the old config goes on: {error}"),
        }
    }

    /// As [`Self::reload`], with a text that somebody has handed over.
    pub(super) async fn update(&mut self, update: Update) {
        let Update { text, file, done } = update;
        let result = match self.draining {
            true => Err(UpdateError::Draining),
            false => self.apply(text, file).await.map(|applied| applied.findings).map_err(UpdateError::Failed),
        };
        match &result {
            Ok(_) => tracing::info!("the config was updated"),
            Err(error) => tracing::error!("the update failed, the old config goes on: {error}"),
        }
        let _ = done.send(result);
    }

    /// Files of certificates have changed: those that are right are used for connections to come, the others stay as
    /// they were.
    pub(super) fn refresh_tls(&mut self) {
        let made = Table::make(&self.config, &self.tls, &self.environment);
        let wrong = made.findings.iter().filter(|finding| finding.severity == Severity::Error);
        for finding in wrong.clone() {
            tracing::error!("{finding}");
        }
        let wrong = wrong.count();
        if wrong > 0 || made.changed > 0 {
            let stats = self.own.block(Scope::Secrets, "files");
            stats.inc(if wrong > 0 { SecretStat::UpdateRejected } else { SecretStat::UpdateSuccess });
        }
        match wrong {
            0 if made.changed == 0 => return,
            0 => tracing::info!("certificates were read again; new connections use them"),
            _ => tracing::error!("certificates were read again and something is wrong: what was there before goes on in its place"),
        }
        // A file of secrets may name other files now.
        self.watch.set(made.table.folders());
        self.tls = Arc::new(made.table);
        let tls = Arc::clone(&self.tls);
        self.tell(|| Command::Tls(Arc::clone(&tls)));
    }

    /// Goes on with the config that `text` is, if all of it works.
    async fn apply(&mut self, text: String, file: PathBuf) -> Result<Applied, StartError> {
        let Ready { mut config, text, tls, findings } =
            load_text(text, &file, self.args.on_unsupported, &self.config.sinks, &self.tls, &self.environment)?;
        if text == self.text {
            self.refresh_tls();
            return Ok(Applied { changed: false, findings });
        }
        let tls = Arc::new(tls);
        config.hostname = Arc::clone(&self.config.hostname);
        let config = Arc::new(config);
        let sinks = access_log::open(&config.sinks)?;
        // A name that does not resolve keeps only its own cluster from having hosts: what runs goes on.
        match resolve_all(&config).await {
            Ok((Some(resolver), _)) => self.resolver = Some(resolver),
            Ok((None, _)) => {}
            Err(error) => tracing::warn!("{error}"),
        }
        if config.admin != self.config.admin {
            tracing::warn!("`admin` has changed; the admin page moves only with a restart");
        }
        // New and moved listeners are opened before anything is changed.
        let own: Vec<SocketAddr> = self.listeners.values().map(|(_, address)| *address).collect();
        let mut opened = Vec::new();
        for listener in &config.listeners {
            let same = |(bind, _): &(Bind, SocketAddr)| *bind == listener.bind;
            if !self.listeners.get(&listener.name).is_some_and(same) {
                opened.push((listener, open_listener(&self.net, &listener.name, &listener.bind, self.workers.len(), &own)?));
            }
        }
        self.log.replace(sinks);
        let gone: Vec<Arc<str>> =
            self.listeners.keys().filter(|name| !config.listeners.iter().any(|listener| listener.name == **name)).cloned().collect();
        let moved = opened.iter().map(|(listener, _)| Arc::clone(&listener.name)).filter(|name| self.listeners.contains_key(name));
        self.quiesce(&gone.iter().cloned().chain(moved).collect::<Vec<_>>()).await;
        // What the kernel has accepted for a listener that leaves is taken while the listener is still known.
        for name in gone {
            self.listeners.remove(&name);
            self.tell(|| Command::Unlisten(Arc::clone(&name)));
        }
        self.tell(|| Command::Config(Arc::clone(&config), Arc::clone(&tls)));
        self.watch.set(tls.folders());
        self.tls = tls;
        for (listener, (sockets, address)) in opened {
            self.tell(|| Command::Unlisten(Arc::clone(&listener.name)));
            tracing::info!("listener {} listens on {address}", listener.name);
            self.listeners.insert(Arc::clone(&listener.name), (listener.bind.clone(), address));
            for (worker, socket) in self.workers.iter().zip(sockets) {
                let _ = worker.commands.send(Command::Listen(vec![(Arc::clone(&listener.name), socket)]));
            }
        }
        self.config = Arc::clone(&config);
        self.text.clone_from(&text);
        let listeners = self.listeners.iter().map(|(name, (_, address))| (Arc::clone(name), *address)).collect();
        self.state.replace(config, text, listeners);
        Ok(Applied { changed: true, findings })
    }
}
