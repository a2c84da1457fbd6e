//! What operators count, time and address.

use crate::record::{Addresses, Record};
use crate::time::Instant;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// A counted length.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Length {
    Received,
    Sent,
    /// Heads and bodies; what chunked coding adds is not counted.
    WireReceived,
    WireSent,
    UpstreamWireReceived,
    UpstreamWireSent,
    RequestHead,
    ResponseHead,
    UpstreamRequestHead,
    UpstreamResponseHead,
    /// Of what HTTP/1 does not have.
    Zero,
}

/// A point in an exchange's life.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Point {
    Start,
    RequestEnd,
    UpstreamConnectStart,
    UpstreamConnectEnd,
    UpstreamStart,
    UpstreamEnd,
    ResponseStart,
    ResponseBodyStart,
    ResponseEnd,
    ReplyStart,
    End,
    /// One that nothing here reaches (a TLS handshake, a filter's own).
    Never,
}

/// The unit of a duration.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Precision {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// A part of a pair of addresses.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Endpoint {
    Address,
    Remote,
    RemoteIp,
    RemotePort,
    Local,
    LocalIp,
    LocalPort,
    /// The network of so many bits that the peer is in.
    RemoteNet(u8),
    LocalNet(u8),
}

impl Length {
    pub(super) fn of(self, record: &Record) -> u64 {
        match self {
            Length::Received => record.bytes_received,
            Length::Sent => record.bytes_sent,
            Length::WireReceived => record.request_head_bytes + record.bytes_received,
            Length::WireSent => record.response_head_bytes + record.bytes_sent,
            Length::UpstreamWireReceived => record.upstream_head_received + record.upstream_bytes_received,
            Length::UpstreamWireSent => record.upstream_head_sent + record.upstream_bytes_sent,
            Length::RequestHead => record.request_head_bytes,
            Length::ResponseHead => record.response_head_bytes,
            Length::UpstreamRequestHead => record.upstream_head_sent,
            Length::UpstreamResponseHead => record.upstream_head_received,
            Length::Zero => 0,
        }
    }
}

impl Point {
    /// Envoy's name of a point in `%COMMON_DURATION%`. Names that it does not have are a filter's own.
    pub(super) fn named(name: &str) -> Point {
        match name {
            "DS_RX_BEG" => Point::Start,
            "DS_RX_END" => Point::RequestEnd,
            "US_CX_BEG" => Point::UpstreamConnectStart,
            "US_CX_END" => Point::UpstreamConnectEnd,
            "US_TX_BEG" => Point::UpstreamStart,
            "US_TX_END" => Point::UpstreamEnd,
            "US_RX_BEG" => Point::ResponseStart,
            "US_RX_BODY_BEG" => Point::ResponseBodyStart,
            "US_RX_END" => Point::ResponseEnd,
            "DS_TX_BEG" => Point::ReplyStart,
            "DS_TX_END" => Point::End,
            _ => Point::Never,
        }
    }

    pub(super) fn of(self, record: &Record) -> Option<Instant> {
        match self {
            Point::Start => Some(record.start),
            Point::RequestEnd => record.request_end,
            Point::UpstreamConnectStart => record.upstream_connect.map(|(start, _)| start),
            Point::UpstreamConnectEnd => record.upstream_connect.map(|(_, end)| end),
            Point::UpstreamStart => record.upstream_start,
            Point::UpstreamEnd => record.upstream_end,
            Point::ResponseStart => record.response_start,
            Point::ResponseBodyStart => record.response_body_start,
            Point::ResponseEnd => record.response_end,
            Point::ReplyStart => record.reply_start,
            Point::End => record.end,
            Point::Never => None,
        }
    }
}

impl Endpoint {
    pub(super) fn write(self, pair: Addresses, out: &mut Vec<u8>) -> bool {
        match self {
            Endpoint::Address | Endpoint::Remote => address(Some(pair.remote), out),
            Endpoint::Local => address(Some(pair.local), out),
            Endpoint::RemoteIp => write!(out, "{}", pair.remote.ip()).is_ok(),
            Endpoint::LocalIp => write!(out, "{}", pair.local.ip()).is_ok(),
            Endpoint::RemotePort => number(u64::from(pair.remote.port()), out),
            Endpoint::LocalPort => number(u64::from(pair.local.port()), out),
            Endpoint::RemoteNet(bits) => network(pair.remote.ip(), bits, out),
            Endpoint::LocalNet(bits) => network(pair.local.ip(), bits, out),
        }
    }
}

impl Precision {
    /// A duration in this unit.
    pub(super) fn of(self, nanos: i128) -> i128 {
        match self {
            Precision::Milliseconds => nanos / 1_000_000,
            Precision::Microseconds => nanos / 1_000,
            Precision::Nanoseconds => nanos,
        }
    }
}

pub(super) fn number(value: u64, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    true
}

pub(super) fn address(value: Option<SocketAddr>, out: &mut Vec<u8>) -> bool {
    value.is_some_and(|address| write!(out, "{address}").is_ok())
}

fn network(ip: IpAddr, bits: u8, out: &mut Vec<u8>) -> bool {
    let masked = match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(32u32.saturating_sub(bits.into())).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(128u32.saturating_sub(bits.into())).unwrap_or(0)).into()),
    };
    write!(out, "{masked}/{bits}").is_ok()
}
