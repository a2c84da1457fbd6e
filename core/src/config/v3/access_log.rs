//! `envoy.config.accesslog.v3.AccessLog`.

use super::bootstrap::Draft;
use super::matcher;
use super::reader::Reader;
use super::typed::Json;
use crate::config::{AccessLog, Comparison, LogFilter, LogFormat, LogSink};
use crate::format::{DEFAULT_ACCESS_LOG, JsonTemplate, Template};
use crate::record::Flags;

pub(super) fn read(log: &Reader<'_>, draft: &mut Draft) -> Option<AccessLog> {
    log.ignore(&["name"]);
    let filter = log.message("filter", |filter| read_filter(&filter)).flatten();
    if !log.has("typed_config") {
        log.error_here("an access log needs a `typed_config`");
    }
    let (sink, format) = log.message("typed_config", |config| read_logger(&config)).flatten()?;
    Some(AccessLog { sink: draft.sink(sink), format, filter })
}

fn read_logger(config: &Reader<'_>) -> Option<(LogSink, LogFormat)> {
    let sink = match config.type_name() {
        "envoy.extensions.access_loggers.file.v3.FileAccessLog" => match config.str("path")? {
            "/dev/stdout" => LogSink::Stdout,
            "/dev/stderr" => LogSink::Stderr,
            path => LogSink::File(path.into()),
        },
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog" => LogSink::Stdout,
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog" => LogSink::Stderr,
        other => {
            config.error_here(format!("Weir does not implement the access logger {other} yet"));
            return None;
        }
    };
    let mut format = config.message("log_format", |format| read_format(&format)).flatten();
    if format.is_none() && matches!(config.type_name(), "envoy.extensions.access_loggers.file.v3.FileAccessLog") {
        format = config.str("format").and_then(|text| template(config, "format", text)).map(dashed);
        format = format.or_else(|| config.json("json_format").map(|json| LogFormat::Json(json_template(config, "json_format", json))));
        format = format
            .or_else(|| config.json("typed_json_format").map(|json| LogFormat::Json(json_template(config, "typed_json_format", json))));
    }
    if format.is_none() && !config.has("log_format") {
        format = Template::parse(DEFAULT_ACCESS_LOG).ok().map(dashed);
    }
    Some((sink, format?))
}

fn read_format(format: &Reader<'_>) -> Option<LogFormat> {
    format.ignore(&["content_type"]);
    let omit = format.bool("omit_empty_values").unwrap_or(false);
    if let Some(json) = format.json("json_format") {
        let template = json_template(format, "json_format", json);
        return Some(LogFormat::Json(if omit { template.without_unknown() } else { template }));
    }
    let text = match format.text("text_format") {
        Some(text) => template(format, "text_format", text),
        None => format.message("text_format_source", |source| {
            source.text("inline_string").and_then(|text| template(&source, "inline_string", text))
        })?,
    };
    text.map(|template| LogFormat::Text(template, if omit { "" } else { "-" }))
}

fn dashed(template: Template) -> LogFormat {
    LogFormat::Text(template, "-")
}

fn template(reader: &Reader<'_>, field: &str, text: &str) -> Option<Template> {
    Template::parse(text).map_err(|problem| reader.error(field, problem.to_string())).ok()
}

fn json_template(reader: &Reader<'_>, field: &str, json: &Json) -> JsonTemplate {
    match json {
        Json::Null => JsonTemplate::Literal("null".into()),
        Json::Bool(flag) => JsonTemplate::Literal(flag.to_string().into()),
        Json::Number(number) => JsonTemplate::Literal(number.to_string().into()),
        Json::String(text) => JsonTemplate::Value(template(reader, field, text).unwrap_or_default()),
        Json::List(items) => JsonTemplate::List(items.iter().map(|item| json_template(reader, field, item)).collect()),
        Json::Object(entries) => {
            let mut entries: Vec<_> =
                entries.iter().map(|(key, value)| (key.as_str().into(), json_template(reader, field, value))).collect();
            entries.sort_by(|a: &(Box<str>, JsonTemplate), b| a.0.cmp(&b.0));
            JsonTemplate::Object { entries, omit_unknown: false }
        }
    }
}

fn read_filter(filter: &Reader<'_>) -> Option<LogFilter> {
    let comparison = |filter: Reader<'_>| filter.message("comparison", |comparison| read_comparison(&comparison)).flatten();
    let all = |filter: Reader<'_>| {
        let mut filters = Vec::new();
        filter.each("filters", |inner| filters.extend(read_filter(&inner)));
        filters
    };
    filter
        .message("status_code_filter", comparison)
        .flatten()
        .map(LogFilter::Status)
        .or_else(|| filter.message("duration_filter", comparison).flatten().map(LogFilter::Duration))
        .or_else(|| filter.message("not_health_check_filter", |_| LogFilter::NotHealthCheck))
        .or_else(|| filter.message("and_filter", all).map(LogFilter::And))
        .or_else(|| filter.message("or_filter", all).map(LogFilter::Or))
        .or_else(|| {
            filter
                .message("header_filter", |header| header.message("header", |m| matcher::read_header(&m)).flatten())
                .flatten()
                .map(LogFilter::Header)
        })
        .or_else(|| filter.message("response_flag_filter", |flags| read_flags(&flags)))
}

fn read_comparison(comparison: &Reader<'_>) -> Option<Comparison> {
    let value = comparison.message("value", |value| {
        value.ignore(&["runtime_key"]);
        value.u64("default_value").unwrap_or(0)
    })?;
    Some(match comparison.enumeration("op") {
        0 => Comparison::Equal(value),
        1 => Comparison::AtLeast(value),
        2 => Comparison::AtMost(value),
        _ => Comparison::Not(value),
    })
}

/// Flags that Envoy has and Weir never sets match nothing; the protos refuse others.
fn read_flags(flags: &Reader<'_>) -> LogFilter {
    let names = flags.strings("flags");
    let known = |name: &&str| Flags::ALL.iter().find(|(_, short, _)| short == name).map(|(flag, ..)| *flag);
    let mut list: Vec<Flags> = names.iter().filter_map(known).collect();
    if list.is_empty() && !names.is_empty() {
        // An empty list would mean "any flag".
        list.push(Flags::INVALID_ENVOY_HEADER);
    }
    LogFilter::Flags(list)
}
