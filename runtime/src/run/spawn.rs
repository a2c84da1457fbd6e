//! Beginning workers: on threads of their own, or as tasks of the calling thread where threads are simulated.

use super::{Host, Running, WorkerHandle};
use crate::command::{Command, Inbox, Upcall, inbox};
use crate::net::Net;
use crate::system;
use crate::thread::{self, Crash, ThreadParts};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type Sockets<N> = Vec<(Arc<str>, <N as Net>::Bound)>;

/// A thread of a process that is there for the proxy, and ends with any of its workers.
pub(super) fn own<N: Net + Send>(parts: ThreadParts<N>, pinned: bool, sockets: Sockets<N>) -> io::Result<WorkerHandle<N>> {
    thread(parts, sockets, move |parts, inbox| {
        if pinned && let Err(error) = system::pin_thread(parts.index) {
            tracing::warn!("worker {} is not pinned to a processor: {error}", parts.index);
        }
        if let Err(Crash(written)) = thread::run(parts, inbox) {
            match written {
                Ok(files) => files.iter().for_each(|file| tracing::error!("what led to the panic is in the input log {file}")),
                Err(error) => tracing::error!("what led to the panic cannot be written: {error}"),
            }
            // A broken invariant of our own: better no process than one that goes on without a worker.
            std::process::abort();
        }
    })
}

/// A thread of a process that is there for something else, and lives on whatever happens here.
pub(super) fn hosted<N: Net + Send>(parts: ThreadParts<N>, host: &Host, sockets: Sockets<N>) -> io::Result<WorkerHandle<N>> {
    let (lines, mark) = (host.lines.clone(), host.mark);
    thread(parts, sockets, move |parts, inbox| {
        mark.set();
        let (worker, upcalls) = (parts.index, parts.upcalls.clone());
        let serve = || tracing::dispatcher::with_default(&lines, || thread::run(parts, inbox));
        let why = match catch_unwind(AssertUnwindSafe(serve)) {
            Ok(Ok(())) => return,
            Ok(Err(Crash(Ok(files)))) if files.is_empty() => "the process's panic hook has been told".to_owned(),
            Ok(Err(Crash(Ok(files)))) => {
                let files: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
                format!("what led to it is in the input log {}", files.join(", "))
            }
            Ok(Err(Crash(Err(error)))) => format!("what led to it cannot be written: {error}"),
            Err(_) => "and once more while it ended".to_owned(),
        };
        let _ = upcalls.send(Upcall::Crashed { worker, why });
    })
}

/// A task of the calling thread.
pub(super) fn task<N: Net>(parts: ThreadParts<N>, sockets: Sockets<N>) -> WorkerHandle<N> {
    let (commands, inbox) = inbox();
    let _ = commands.send(Command::Listen(sockets));
    WorkerHandle { commands, running: Running::Task(tokio::task::spawn_local(thread::serve(parts, inbox))) }
}

fn thread<N: Net + Send>(
    parts: ThreadParts<N>,
    sockets: Sockets<N>,
    run: impl FnOnce(ThreadParts<N>, Inbox<N>) + Send + 'static,
) -> io::Result<WorkerHandle<N>> {
    let (commands, inbox) = inbox();
    let _ = commands.send(Command::Listen(sockets));
    let thread = std::thread::Builder::new().name(format!("worker-{}", parts.index)).spawn(move || run(parts, inbox))?;
    Ok(WorkerHandle { commands, running: Running::Thread(thread) })
}
