//! Doing what the engine says: actions, sending, events.

use super::Worker;
use crate::command::Upcall;
use crate::net::Net;
use crate::socket::{self, ConnectionTask, Socket};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::task::spawn_local;
use weir_core::engine::{Action, Event, IoFault};
use weir_core::id::ConnId;

impl<N: Net> Worker<N> {
    /// Does what the engine says until it says nothing more.
    pub fn run(self: &Rc<Self>) {
        if self.running.replace(true) {
            return;
        }
        loop {
            let action = self.engine.borrow_mut().poll_action();
            let Some(action) = action else { break };
            self.perform(action);
        }
        self.running.set(false);
        self.take_events();
        let due = self.next_wake();
        if due < self.alarm.armed.get() {
            self.alarm.armed.set(due);
            self.alarm.wake.notify_one();
        }
        if self.engine.borrow().recorded_len() > self.log_limit {
            self.alarm.wake.notify_one();
        }
    }

    pub(super) fn socket(&self, id: ConnId) -> Option<Rc<Socket<N>>> {
        self.sockets.borrow().get(id).cloned()
    }

    pub(super) fn perform(self: &Rc<Self>, action: Action) {
        match action {
            Action::Transmit(id) => {
                let multiplexed = self.engine.borrow_mut().is_multiplexed(id);
                if multiplexed { self.send_later(id) } else { self.send(id) }
            }
            Action::Connect { conn, address, tls } => {
                let socket = Rc::new(Socket::new(None));
                self.sockets.borrow_mut().insert(conn, Rc::clone(&socket));
                spawn_local(socket::connect(conn, address, tls, socket, Rc::clone(self)));
            }
            Action::Open(id) => self.on_socket(id, Socket::hurry),
            Action::SetReadable(id, readable) => self.on_socket(id, |socket| socket.set_readable(readable)),
            Action::ShutdownWrite(id) => self.on_socket(id, Socket::shutdown_write),
            Action::Close(id) => self.on_socket(id, Socket::close),
            Action::Drop(id) => {
                let socket = self.sockets.borrow_mut().remove(id);
                if let Some(socket) = socket {
                    socket.end();
                }
            }
            Action::Reset(id) => {
                let socket = self.sockets.borrow_mut().remove(id);
                if let Some(socket) = socket {
                    if let Some(stream) = socket.take_stream() {
                        N::reset(stream.into_socket());
                    }
                    socket.end();
                }
            }
            Action::CloseIfIdle(id) => {
                if let Some(socket) = self.socket(id) {
                    ConnectionTask::close_if_idle(id, &socket, self);
                }
            }
            Action::Resolve { query, question } => {
                let _ = self.upcalls.send(Upcall::Resolve { worker: self.index, generation: self.generation, query, question });
            }
            Action::Nudge => {
                let _ = self.upcalls.send(Upcall::Nudge);
            }
        }
    }

    pub(super) fn on_socket(&self, id: ConnId, act: impl FnOnce(&Socket<N>)) {
        if let Some(socket) = self.socket(id) {
            act(&socket);
        }
    }

    /// Writes once all that is ready now has been read: what other connections have for the streams of this one then
    /// leaves in one piece.
    pub(super) fn send_later(self: &Rc<Self>, id: ConnId) {
        let mut later = self.later.borrow_mut();
        later.push(id);
        if later.len() == 1 {
            let worker = Rc::clone(self);
            spawn_local(async move {
                let _guard = worker.crash_guard();
                let ids = std::mem::take(&mut *worker.later.borrow_mut());
                worker.now.set(worker.clock.now());
                for id in &ids {
                    worker.send(*id);
                }
                worker.run();
                let mut later = worker.later.borrow_mut();
                if later.is_empty() {
                    // The memory is used again.
                    *later = ids;
                    later.clear();
                }
            });
        }
    }

    /// Writes at once. What does not fit is left to the socket's own task.
    pub(super) fn send(self: &Rc<Self>, id: ConnId) {
        let Some(socket) = self.socket(id) else { return };
        if socket.is_blocked() {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        match socket.flush(id, self, &mut cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Pending => socket.wake(),
            // The peer may have said why before it stopped reading: the task reads that first.
            Poll::Ready(Err(_)) => {
                if socket.break_off() {
                    socket.end();
                    self.closed_now(id, IoFault::Reset);
                }
            }
        }
    }

    pub(super) fn take_events(self: &Rc<Self>) {
        loop {
            let event = self.engine.borrow_mut().poll_event();
            match event {
                None => return,
                Some(Event::AccessLog { sink, line }) => {
                    let mut lines = self.lines.borrow_mut();
                    match lines.iter_mut().find(|(other, _)| *other == sink) {
                        Some((_, all)) => all.extend_from_slice(&line),
                        None => lines.push((sink, line)),
                    }
                }
                Some(Event::Drained { cut }) => {
                    self.drained.set(Some(cut));
                    self.alarm.wake.notify_one();
                }
                // Nobody here asks for explanations.
                Some(Event::Step(_)) => {}
                Some(Event::ListenerDrained { name }) => tracing::info!("worker {}: listener {name} is drained", self.index),
            }
        }
    }

    /// Hands the access-log lines to the writer.
    pub fn send_lines(&self) {
        let lines = self.lines.take();
        if !lines.is_empty() {
            self.log.write(lines);
        }
    }
}
