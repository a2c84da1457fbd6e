//! What a worker does before it hands a client's bytes to the engine: look at the first of them, shake hands.

use crate::net::Net;
use crate::socket::{ConnectionTask, Socket};
use crate::tls::{Stream, handshake, hello};
use crate::worker::Worker;
use bytes::BytesMut;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use weir_core::config::DownstreamTls;
use weir_core::engine::{IoFault, Opening};
use weir_core::id::ConnId;

/// Opens a client's connection, then serves it.
pub async fn open<N: Net>(id: ConnId, stream: N::Stream, opening: Opening, socket: Rc<Socket<N>>, worker: Rc<Worker<N>>) {
    let _guard = worker.crash_guard();
    // In memory of its own, which is free again once the connection is open.
    let opened = socket.unless_ended(Box::pin(begin(id, stream, opening, &socket, &worker))).await;
    match opened {
        Some(true) => ConnectionTask::new(id, socket, worker).await,
        Some(false) => socket.end(),
        None => {
            let closing = socket.is_closing();
            socket.end();
            if closing {
                worker.closed(id, IoFault::Closed);
            }
        }
    }
}

/// Does what comes first; answers whether the connection is open. If it is not, the engine knows.
async fn begin<N: Net>(id: ConnId, mut stream: N::Stream, mut opening: Opening, socket: &Socket<N>, worker: &Rc<Worker<N>>) -> bool {
    let mut first = BytesMut::new();
    if opening == Opening::Inspect {
        opening = match inspect(&mut stream, &mut first, socket).await {
            Some(Ok(seen)) => seen.tell(|hello| worker.client_hello(id, hello)),
            Some(Err(_)) => {
                worker.closed(id, IoFault::Reset);
                return false;
            }
            None => worker.engine().opening(id),
        };
    }
    match opening {
        Opening::Plain => {
            socket.begin(Stream::Plain(stream), first);
            true
        }
        Opening::Tls(settings) => secure(id, stream, first, &settings, socket, worker).await,
        Opening::Inspect | Opening::Refused => false,
    }
}

/// Looks at the first bytes; `None` if they take too long.
async fn inspect<N: Net>(stream: &mut N::Stream, first: &mut BytesMut, socket: &Socket<N>) -> Option<std::io::Result<hello::Seen>> {
    let mut look = pin!(hello::look(stream, first));
    poll_fn(|cx| match socket.is_hurried() {
        true => Poll::Ready(None),
        false => look.as_mut().poll(cx).map(Some),
    })
    .await
}

async fn secure<N: Net>(
    id: ConnId,
    stream: N::Stream,
    first: BytesMut,
    settings: &Arc<DownstreamTls>,
    socket: &Socket<N>,
    worker: &Rc<Worker<N>>,
) -> bool {
    let Some(config) = worker.tls_downstream(settings) else {
        tracing::error!("there are no TLS settings for a connection; it is closed");
        worker.closed(id, IoFault::Reset);
        return false;
    };
    match handshake::accept(config, first, stream).await {
        Ok((stream, info)) => {
            socket.begin(Stream::Tls(Box::new(stream)), BytesMut::new());
            worker.secured(id, Arc::new(info));
            true
        }
        Err(failed) => {
            tracing::debug!("TLS handshake with a client failed: {}", failed.text);
            match failed.fault {
                Some(fault) => worker.handshake_failed(id, fault),
                None => worker.closed(id, IoFault::Reset),
            }
            false
        }
    }
}
