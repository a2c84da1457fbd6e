//! Writing access logs, on a thread of its own: a slow disk slows no request.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use weir_core::config::LogSink;

/// Batches that may wait. What comes when the writer is so far behind is dropped, and counted.
const QUEUE: usize = 4096;

enum Message {
    Sinks(Vec<Box<dyn Write + Send>>),
    Lines(Vec<(usize, Vec<u8>)>),
    Flush(SyncSender<()>),
    End,
}

/// A handle on the writer thread.
#[derive(Clone, Debug)]
pub struct LogWriter {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// A log that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the access log {path}: {error}")]
pub struct OpenError {
    path: String,
    error: io::Error,
}

/// Opens the sinks of a config, before anything is started or changed.
pub fn open(sinks: &[LogSink]) -> Result<Vec<Box<dyn Write + Send>>, OpenError> {
    sinks
        .iter()
        .map(|sink| -> Result<Box<dyn Write + Send>, OpenError> {
            match sink {
                LogSink::Stdout => Ok(Box::new(io::stdout())),
                LogSink::Stderr => Ok(Box::new(io::stderr())),
                LogSink::File(path) => {
                    let file = OpenOptions::new().create(true).append(true).open(&**path);
                    let file = file.map_err(|error| OpenError { path: path.to_string(), error })?;
                    Ok(Box::new(file))
                }
            }
        })
        .collect()
}

impl LogWriter {
    /// Starts the thread.
    pub fn start(sinks: Vec<Box<dyn Write + Send>>) -> io::Result<LogWriter> {
        let (queue, messages) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write_all(sinks, &messages))?;
        Ok(LogWriter { queue, dropped: Arc::default(), thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Writes these lines, by sink. Never waits.
    pub fn write(&self, lines: Vec<(usize, Vec<u8>)>) {
        if let Err(TrySendError::Full(Message::Lines(lines))) = self.queue.try_send(Message::Lines(lines)) {
            let count: usize = lines.iter().map(|(_, text)| text.iter().filter(|byte| **byte == b'\n').count()).sum();
            self.dropped.fetch_add(count as u64, Relaxed);
        }
    }

    /// Writes to these from now on.
    pub fn replace(&self, sinks: Vec<Box<dyn Write + Send>>) {
        let _ = self.queue.send(Message::Sinks(sinks));
    }

    /// Waits until everything that was handed over is written.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// Writes everything that was handed over, then ends the thread. What comes afterwards is written nowhere.
    pub fn end(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = self.queue.send(Message::End);
            let _ = thread.join();
        }
    }

    /// Lines that were dropped because the writer was behind.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

fn write_all(mut sinks: Vec<Box<dyn Write + Send>>, messages: &Receiver<Message>) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Sinks(new) => sinks = new,
            Message::Lines(lines) => {
                for (sink, text) in lines {
                    if let Some(sink) = sinks.get_mut(sink) {
                        // There is nobody to tell but the log that just failed.
                        let _ = sink.write_all(&text).and_then(|()| sink.flush());
                    }
                }
            }
            Message::Flush(done) => drop(done.send(())),
            Message::End => return,
        }
    }
}
