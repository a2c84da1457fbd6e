//! What a client asks for. The target says how the upstream is to answer, so both sides know what is right without
//! talking to each other.

use crate::event::Time;
use weir_core::rng::Rng;

/// Methods that the clients use.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
    Put,
    Delete,
    Post,
    Patch,
}

impl Method {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Post => "POST",
            Method::Patch => "PATCH",
        }
    }

    /// Whether a request may be sent twice (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Method::Post | Method::Patch)
    }
}

/// Which of a cluster's routes a request takes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Lane {
    /// No retries, the default timeout.
    Plain,
    /// A retry policy.
    Retry,
    /// A short timeout.
    Timed,
}

impl Lane {
    /// The letter that the route's prefix begins with.
    pub fn letter(self) -> char {
        match self {
            Lane::Plain => 'c',
            Lane::Retry => 'r',
            Lane::Timed => 't',
        }
    }
}

/// How a body's end is told.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Framing {
    Length,
    Chunked,
    Close,
}

/// How an upstream answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Bytes of the body.
    pub body: u64,
    /// How its end is told.
    pub framing: Framing,
    /// From the end of the request to the answer.
    pub delay: Time,
    /// A 103 comes first.
    pub hints: bool,
    /// The upstream says that it closes, and does soon after.
    pub closes: bool,
    /// Trailers follow the body. Only where its framing can say so: [`Framing::Chunked`].
    pub trailers: bool,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number; also what its body is made of.
    pub id: u64,
    /// Method.
    pub method: Method,
    /// Which cluster.
    pub cluster: usize,
    /// By which of its routes.
    pub lane: Lane,
    /// Bytes of the body.
    pub body: u64,
    /// Whether the body is chunked; in HTTP/2 its length is then not told.
    pub chunked: bool,
    /// Trailers follow the body; only if it is chunked.
    pub trailers: bool,
    /// What the upstream is to do.
    pub answer: Answer,
}

impl Request {
    /// Any request.
    pub fn draw(id: u64, clusters: usize, rng: &mut Rng) -> Request {
        let methods =
            [Method::Get, Method::Get, Method::Get, Method::Post, Method::Post, Method::Head, Method::Put, Method::Delete, Method::Patch];
        let method = methods[rng.below(methods.len() as u64) as usize];
        let with_body = matches!(method, Method::Put | Method::Post | Method::Patch);
        let lane = match rng.below(10) {
            // A retry policy retries whatever it is told to: requests that may not be sent twice do not ask for one.
            0..=2 if method.is_idempotent() => Lane::Retry,
            3 => Lane::Timed,
            _ => Lane::Plain,
        };
        let statuses = [200, 200, 200, 200, 204, 304, 404, 500, 503];
        let framing = match rng.below(8) {
            0 => Framing::Close,
            1..=3 => Framing::Chunked,
            _ => Framing::Length,
        };
        let answer = Answer {
            status: statuses[rng.below(statuses.len() as u64) as usize],
            body: size(rng),
            framing,
            delay: rng.below(3_000_000),
            hints: rng.below(10) == 0,
            closes: rng.below(10) == 0,
            trailers: false,
        };
        let cluster = rng.below(clusters as u64) as usize;
        let (body, chunked) = (if with_body { size(rng) } else { 0 }, with_body && rng.below(2) == 0);
        Request { id, method, cluster, lane, body, chunked, trailers: false, answer }
    }

    /// Gives some messages trailers, where the framing can carry them.
    pub fn draw_trailers(&mut self, rng: &mut Rng) {
        self.trailers = self.chunked && rng.below(3) == 0;
        self.answer.trailers = self.answer.framing == Framing::Chunked && rng.below(3) == 0;
    }

    /// Whether trailers follow the body of the answer.
    pub fn is_answered_with_trailers(&self) -> bool {
        self.answer.trailers && !self.is_bodyless()
    }

    /// The head, as a client writes it.
    pub fn head(&self) -> String {
        let answer = &self.answer;
        let framing = match answer.framing {
            Framing::Length => 'l',
            Framing::Chunked => 'k',
            Framing::Close => 'e',
        };
        let body = match (self.chunked, self.body) {
            (true, _) => "Transfer-Encoding: chunked\r\n".to_owned(),
            (false, 0) => String::new(),
            (false, n) => format!("Content-Length: {n}\r\n"),
        };
        format!(
            "{} /{}{}/{}/{}/{}/{}/{framing}/{}/{} HTTP/1.1\r\nHost: sim\r\nX-Id: {}\r\n{body}\r\n",
            self.method.as_str(),
            self.lane.letter(),
            self.cluster,
            self.id,
            self.body,
            answer.status,
            answer.body,
            answer.delay,
            self.flags(),
            self.id,
        )
    }

    /// The target: path and query.
    pub fn target(&self) -> String {
        let head = self.head();
        head.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    fn flags(&self) -> u8 {
        let answer = &self.answer;
        [answer.hints, answer.closes, answer.trailers, self.trailers].iter().rev().fold(0, |flags, flag| 2 * flags + u8::from(*flag))
    }

    /// The request behind a target; the method is told apart by what the upstream read.
    pub fn of_target(target: &str, method: &str) -> Option<Request> {
        let mut parts = target.strip_prefix('/')?.split('/');
        let flags: u8 = parts.clone().next_back()?.parse().ok()?;
        let route = parts.next()?;
        let lane = match route.chars().next()? {
            'c' => Lane::Plain,
            'r' => Lane::Retry,
            't' => Lane::Timed,
            _ => return None,
        };
        let method = [Method::Get, Method::Head, Method::Put, Method::Delete, Method::Post, Method::Patch]
            .into_iter()
            .find(|known| known.as_str() == method)?;
        Some(Request {
            cluster: route[1..].parse().ok()?,
            lane,
            method,
            id: parts.next()?.parse().ok()?,
            body: parts.next()?.parse().ok()?,
            chunked: false,
            trailers: flags & 8 != 0,
            answer: Answer {
                status: parts.next()?.parse().ok()?,
                body: parts.next()?.parse().ok()?,
                framing: match parts.next()? {
                    "l" => Framing::Length,
                    "k" => Framing::Chunked,
                    _ => Framing::Close,
                },
                delay: parts.next()?.parse().ok()?,
                hints: flags & 1 != 0,
                closes: flags & 2 != 0,
                trailers: flags & 4 != 0,
            },
        })
    }

    /// Whether the answer has no body, whatever it says.
    pub fn is_bodyless(&self) -> bool {
        self.method == Method::Head || matches!(self.answer.status, 204 | 304)
    }
}

/// Mostly small, now and then larger than any buffer.
fn size(rng: &mut Rng) -> u64 {
    match rng.below(100) {
        0..15 => 0,
        15..75 => rng.below(200),
        75..93 => rng.below(5_000),
        93..98 => rng.below(20_000),
        98 => rng.below(100_000),
        _ => rng.below(400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::rng::Seed;

    #[test]
    fn a_target_says_it_all() {
        let mut rng = Rng::new(Seed(1));
        for id in 0..200 {
            let mut request = Request::draw(id, 5, &mut rng);
            request.draw_trailers(&mut rng);
            let head = request.head();
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
            assert_eq!(Request::of_target(target, method), Some(Request { chunked: false, ..request }));
        }
    }
}
