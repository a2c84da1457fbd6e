//! `envoy.filters.http.header_mutation`: edits headers on the way in and out.

use super::{FilterContext, FilterFactory, HttpFilter, Verdict};
use crate::config::HeaderEdits;
use crate::http::{RequestHead, ResponseHead};
use crate::router::{apply_request_edits, apply_response_edits};
use std::sync::Arc;

/// The filter's config.
#[derive(Debug)]
pub struct HeaderMutation {
    name: String,
    edits: Arc<HeaderEdits>,
}

impl HeaderMutation {
    /// A filter called `name` that makes `edits`.
    pub fn new(name: &str, edits: HeaderEdits) -> HeaderMutation {
        HeaderMutation { name: name.to_owned(), edits: Arc::new(edits) }
    }
}

impl FilterFactory for HeaderMutation {
    fn name(&self) -> &str {
        &self.name
    }

    fn make(&self) -> Box<dyn HttpFilter> {
        Box::new(Filter(Arc::clone(&self.edits)))
    }
}

#[derive(Debug)]
struct Filter(Arc<HeaderEdits>);

impl HttpFilter for Filter {
    fn request_head(&mut self, head: &mut RequestHead, context: &mut FilterContext<'_>) -> Verdict {
        apply_request_edits(&self.0.request, head, context.record, context.names);
        Verdict::Continue
    }

    fn response_head(&mut self, request: &RequestHead, head: &mut ResponseHead, context: &mut FilterContext<'_>) -> Verdict {
        apply_response_edits(&self.0.response, request, head, context.record, context.names);
        Verdict::Continue
    }
}
