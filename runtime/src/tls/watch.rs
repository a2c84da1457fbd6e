//! Files that have changed: certificates are renewed under a running proxy.
//!
//! Folders are watched, not files: a file that is replaced, or reached by a link that is moved (as Kubernetes does),
//! changes its folder and not itself.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// How long nothing must change before files are read: certificate and key are written one after the other.
const QUIET: Duration = Duration::from_millis(200);

/// Says when something in the folders has changed.
#[derive(Debug, Default)]
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
}

impl Watch {
    /// Watches these folders from now on, and no others.
    pub fn set(&mut self, folders: Vec<PathBuf>) {
        let folders: BTreeSet<PathBuf> = folders.into_iter().collect();
        if folders == self.folders {
            return;
        }
        if self.watcher.is_none() {
            let changed = Arc::clone(&self.changed);
            let tell = move |event: notify::Result<Event>| {
                // Reading them is no change.
                if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                    changed.notify_one();
                }
            };
            match notify::recommended_watcher(tell) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => return tracing::warn!("files of certificates are not watched: {error}"),
            }
        }
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.folders.difference(&folders) {
            let _ = watcher.unwatch(gone);
        }
        for new in folders.difference(&self.folders) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!("{} is not watched: {error}", new.display());
            }
        }
        self.folders = folders;
    }

    /// Sends a word whenever something has changed and then nothing for a moment. Runs until nobody listens.
    pub fn tell(&self, to: mpsc::UnboundedSender<()>) -> impl Future<Output = ()> + 'static {
        let changed = Arc::clone(&self.changed);
        async move {
            loop {
                changed.notified().await;
                while tokio::time::timeout(QUIET, changed.notified()).await.is_ok() {}
                if to.send(()).is_err() {
                    return;
                }
            }
        }
    }
}
