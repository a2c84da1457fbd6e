//! Where a request would go, without sending it: an engine of its own decides about it, with the config in force and the
//! addresses that names have resolved to, and is thrown away once it would connect.

use super::failure::Refusal;
use super::proxy::Proxy;
use super::request::{CallRequest, Entrance};
use super::wait::wait;
use crate::command::Command;
use crate::start::{self, Answers};
use bytes::BytesMut;
use hyper::Version;
use hyper::http::Request;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::oneshot;
use weir_core::Engine;
use weir_core::cluster::ClusterState;
use weir_core::config::{Codec, Config, FilterChain, Listener};
use weir_core::engine::{Action, Event, Opening};
use weir_core::time::{Instant, Wall};

impl Proxy {
    /// Says step by step where a request to this listener would go and why: what its head is taken to be, virtual host and
    /// route, cluster, timeouts, host. Nothing is sent and nothing is counted. The engine that decides is one that has just
    /// begun: what is drawn is drawn anew, and no host has failed or is busy yet.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    pub fn explain(&self, listener: &str, request: &CallRequest) -> Result<Vec<String>, Refusal> {
        self.alive()?;
        if self.mark.is_here() {
            return Err(Refusal::OwnThread);
        }
        let mut entrance = Entrance::of(self, listener, &request.authority)?;
        entrance.version = Version::HTTP_11;
        let head = request.head(&entrance)?;
        let (config, answers) = (simplified(&self.admin.config(), &entrance.listener), self.answers());
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (now, wall) = (Instant::from_nanos(0), Wall::from_nanos(since.as_nanos() as u64));
        let mut engine = Engine::new(Arc::new(config), Arc::default(), start::seed(), now, wall);
        engine.explain();
        start::warm(&mut engine, &answers, now);
        let mut steps = Vec::new();
        match feed(&mut engine, &entrance, &head, now) {
            Ok(()) => {
                let connects = std::iter::from_fn(|| engine.poll_action()).any(|action| matches!(action, Action::Connect { .. }));
                let told = std::iter::from_fn(|| engine.poll_event());
                steps.extend(told.filter_map(|event| if let Event::Step(step) = event { Some(step.what) } else { None }));
                if connects {
                    steps.push("would connect".to_owned());
                }
            }
            Err(why) => steps.push(why),
        }
        Ok(steps)
    }

    /// What names have resolved to, as a worker knows it.
    fn answers(&self) -> Answers {
        let (answer, answers) = oneshot::channel();
        let ask = Box::new(move |engine: &Engine| drop(answer.send(engine.clusters().flat_map(ClusterState::known).collect())));
        let asked = self.admin.commands.first().is_some_and(|worker| worker.send(Command::Inspect(ask)).is_ok());
        let answers = if asked { wait(answers, None).and_then(Result::ok) } else { None };
        answers.unwrap_or_default()
    }
}

/// The config with this listener only, whose chains take HTTP/1 whatever else they would: routes do not ask.
fn simplified(config: &Config, listener: &Listener) -> Config {
    let chain = |chain: &Arc<FilterChain>| {
        let mut chain = FilterChain::clone(chain);
        let mut http = chain.http.as_ref().clone();
        http.codec = if http.tcp { http.codec } else { Codec::Auto };
        chain.http = Arc::new(http);
        Arc::new(chain)
    };
    let listener = Listener {
        chains: listener.chains.iter().map(chain).collect(),
        default_chain: listener.default_chain.as_ref().map(chain),
        ..listener.clone()
    };
    Config { listeners: vec![Arc::new(listener)], ..config.clone() }
}

/// Hands the request to the engine; an `Err` says why it does not get so far.
fn feed(engine: &mut Engine, entrance: &Entrance, head: &Request<()>, now: Instant) -> Result<(), String> {
    let listener = engine.listener(&entrance.listener.name).ok_or("there is no such listener any more")?;
    let id = engine.handle_accept(listener, entrance.addresses, now).map_err(|refused| refused.to_string())?;
    let mut opening = engine.opening(id);
    if opening == Opening::Inspect {
        opening = entrance.with_hello(|hello| engine.handle_client_hello(id, hello, now));
    }
    match opening {
        Opening::Tls(_) => engine.handle_secured(id, Arc::new(entrance.tls_info()), now),
        Opening::Refused => return Err("no filter chain is for it".to_owned()),
        Opening::Plain | Opening::Inspect => {}
    }
    let mut bytes = BytesMut::from(format!("{} {} HTTP/1.1\r\n", head.method(), head.uri()).as_bytes());
    for (name, value) in head.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    engine.handle_recv(id, &mut bytes, now);
    Ok(())
}
