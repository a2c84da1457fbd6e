//! Listening sockets: taking over, accepting, closing without losing who waits.

use super::{ACCEPT_PAUSE, Accepting, CrashGuard, Door, Worker};
use crate::net::Net;
use crate::open;
use crate::socket::{ConnectionTask, Socket};
use crate::tls::Stream;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::task::spawn_local;
use weir_core::engine::{Opening, Refused};
use weir_core::id::ListenerId;
use weir_core::listener::Hello;
use weir_core::record::Addresses;
use weir_core::tls_info::TlsInfo;

impl<N: Net> Worker<N> {
    /// Takes over the listening sockets of another worker of this thread.
    pub fn take_listeners(self: &Rc<Self>, other: &Worker<N>) {
        for (name, accepting) in other.listeners.take() {
            accepting.task.abort();
            self.accept_from(name, accepting.door);
        }
    }

    /// Accepts from a listening socket.
    pub fn listen(self: &Rc<Self>, name: Arc<str>, bound: N::Bound) {
        match self.net.adopt(bound) {
            Ok(listener) => self.accept_from(name, Rc::new(RefCell::new(Some(listener)))),
            Err(error) => tracing::error!("worker {}: cannot accept for listener {name}: {error}", self.index),
        }
    }

    fn accept_from(self: &Rc<Self>, name: Arc<str>, door: Door<N>) {
        let (worker, accepting, of) = (Rc::clone(self), Rc::clone(&door), Arc::clone(&name));
        let task = spawn_local(async move {
            let _guard = CrashGuard(Rc::clone(&worker.alarm));
            loop {
                let accepted = poll_fn(|cx| match &*accepting.borrow() {
                    Some(listener) => worker.net.poll_accept(listener, cx).map(Some),
                    None => Poll::Ready(None),
                });
                match accepted.await {
                    None => return,
                    Some(Ok((stream, addresses))) => worker.accepted(&of, stream, addresses),
                    Some(Err(error)) => {
                        tracing::warn!("listener {of}: cannot accept: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        self.listeners.borrow_mut().insert(name, Accepting { door, task: task.abort_handle() });
    }

    /// Lets no new connection to the listener begin.
    pub fn refuse_new(&self, name: &Arc<str>) {
        let listeners = self.listeners.borrow();
        let Some(accepting) = listeners.get(name) else { return };
        if let Some(listener) = &*accepting.door.borrow()
            && let Err(error) = self.net.refuse_new(listener)
        {
            tracing::debug!("listener {name}: cannot refuse new connections before it closes: {error}");
        }
    }

    /// Closing a listening socket resets the connections in its queue: they are taken out first.
    pub fn unlisten(self: &Rc<Self>, name: &Arc<str>) {
        let Some(accepting) = self.listeners.borrow_mut().remove(name) else { return };
        accepting.task.abort();
        let Some(listener) = accepting.door.borrow_mut().take() else { return };
        while let Ok((stream, addresses)) = self.net.accept_now(&listener) {
            self.accepted(name, stream, addresses);
        }
    }

    /// As if `stream` had been accepted for the listener, its TLS with it: who brings it has found out `hello` and `tls`
    /// by other means.
    ///
    /// # Errors
    /// Says why the listener takes no connection.
    pub fn enter(
        self: &Rc<Self>,
        name: &str,
        stream: N::Stream,
        addresses: Addresses,
        hello: Hello<'_>,
        tls: TlsInfo,
    ) -> Result<(), Refused> {
        let now = self.clock.now();
        let listener: Option<ListenerId> = self.engine.borrow().listener(name);
        let id = self.engine.borrow_mut().handle_accept(listener.ok_or(Refused::UnknownListener)?, addresses, now)?;
        let socket = Rc::new(Socket::new(Some(Stream::Plain(stream))));
        self.sockets.borrow_mut().insert(id, Rc::clone(&socket));
        let mut opening = self.engine.borrow().opening(id);
        if opening == Opening::Inspect {
            opening = self.client_hello(id, hello);
        }
        match opening {
            Opening::Tls(_) => self.secured(id, Arc::new(tls)),
            Opening::Refused => return Err(Refused::NoFilterChain),
            Opening::Plain | Opening::Inspect => {}
        }
        spawn_local(ConnectionTask::new(id, socket, Rc::clone(self)));
        self.run();
        Ok(())
    }

    fn accepted(self: &Rc<Self>, name: &str, stream: N::Stream, addresses: Addresses) {
        let now = self.clock.now();
        let listener: Option<ListenerId> = self.engine.borrow().listener(name);
        let Some(listener) = listener else { return };
        let accepted = self.engine.borrow_mut().handle_accept(listener, addresses, now);
        match accepted {
            Ok(id) => {
                let opening = self.engine.borrow().opening(id);
                let (plain, stream) = match opening {
                    Opening::Plain => (Some(Stream::Plain(stream)), None),
                    _ => (None, Some(stream)),
                };
                let socket = Rc::new(Socket::new(plain));
                self.sockets.borrow_mut().insert(id, Rc::clone(&socket));
                match stream {
                    None => drop(spawn_local(ConnectionTask::new(id, socket, Rc::clone(self)))),
                    Some(stream) => drop(spawn_local(open::open(id, stream, opening, socket, Rc::clone(self)))),
                }
                self.run();
            }
            Err(refused) => tracing::debug!("listener {name}: {} refused: {refused}", addresses.remote),
        }
    }
}
