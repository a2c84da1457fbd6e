//! Takes the descriptors of Envoy's v3 API out of the `envoy-types` package: the files that Weir's loader
//! reads, whole, and the names of all other messages, so that a misspelt type and a known type that Weir
//! does not implement get different messages.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Files whose messages the loader knows. Their imports follow.
const ROOTS: &[&str] = &[
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/access_loggers/stream/v3/stream.proto",
    "envoy/extensions/clusters/dns/v3/dns_cluster.proto",
    "envoy/extensions/filters/http/header_mutation/v3/header_mutation.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/http/header_formatters/preserve_case/v3/preserve_case.proto",
    "envoy/extensions/load_balancing_policies/least_request/v3/least_request.proto",
    "envoy/extensions/load_balancing_policies/random/v3/random.proto",
    "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.proto",
    "envoy/extensions/request_id/uuid/v3/uuid.proto",
    "envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.proto",
    "envoy/extensions/retry/host/omit_canary_hosts/v3/omit_canary_hosts.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    "envoy/service/discovery/v3/discovery.proto",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let types = package_dir("envoy-types").join("src/generated/types.bin");
    println!("cargo::rerun-if-changed={}", types.display());
    let set = fs::read(&types).unwrap_or_else(|e| panic!("cannot read {}: {e}", types.display()));
    let files: Vec<File> = fields(&set).map(|field| File::parse(field.payload)).collect();
    let kept = closure(&files);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("v3.bin"), descriptor_set(&files, &kept)).expect("OUT_DIR is writable");
    let mut others: Vec<&str> =
        files.iter().filter(|file| !kept.contains(&file.name.as_str())).flat_map(|file| file.messages.iter().map(String::as_str)).collect();
    others.sort_unstable();
    fs::write(out.join("other-messages.txt"), others.join("\n")).expect("OUT_DIR is writable");
}

/// The folder of a package that is locked but that no target compiles. A plain `cargo build` does not
/// download such a package; `cargo metadata` does, if it may go online.
fn package_dir(name: &str) -> PathBuf {
    let manifest = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let run = |options: &[&str]| {
        let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
        cargo_metadata::MetadataCommand::new().manifest_path(&manifest).other_options(options).exec()
    };
    let metadata = run(&["--offline", "--locked"])
        .or_else(|_| run(&["--locked"]))
        .or_else(|_| run(&[]))
        .unwrap_or_else(|e| panic!("cannot find the package {name}; run `cargo fetch --locked` first: {e}"));
    let package = metadata.packages.iter().find(|package| package.name.as_str() == name);
    let package = package.unwrap_or_else(|| panic!("{name} is not in Cargo.lock"));
    package.manifest_path.parent().expect("a manifest has a folder").into()
}

/// One field of a message on the wire.
struct Field<'a> {
    number: u64,
    whole: &'a [u8],
    payload: &'a [u8],
}

/// One `FileDescriptorProto` without its source info.
struct File {
    name: String,
    imports: Vec<String>,
    messages: Vec<String>,
    bytes: Vec<u8>,
}

impl File {
    fn parse(source: &[u8]) -> File {
        let mut file = File { name: String::new(), imports: Vec::new(), messages: Vec::new(), bytes: Vec::new() };
        let mut package = String::new();
        for field in fields(source) {
            match field.number {
                1 => file.name = text(field.payload),
                2 => package = text(field.payload),
                3 => file.imports.push(text(field.payload)),
                4 => file.messages.extend(fields(field.payload).find(|f| f.number == 1).map(|f| text(f.payload))),
                9 => continue, // source_code_info: four fifths of the bytes
                _ => {}
            }
            file.bytes.extend_from_slice(field.whole);
        }
        for message in &mut file.messages {
            *message = format!("{package}.{message}");
        }
        file
    }
}

fn closure(files: &[File]) -> Vec<&str> {
    let (mut kept, mut todo) = (Vec::new(), ROOTS.to_vec());
    while let Some(name) = todo.pop() {
        if !kept.contains(&name) {
            let file = files.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("envoy-types has no {name}"));
            kept.push(&file.name);
            todo.extend(file.imports.iter().map(String::as_str));
        }
    }
    kept
}

/// A `FileDescriptorSet` of the kept files, options untouched: decoding and encoding would drop the
/// extensions, `validate.rules` among them.
fn descriptor_set(files: &[File], kept: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for file in files.iter().filter(|file| kept.contains(&file.name.as_str())) {
        out.push(0x0a);
        let mut len = file.bytes.len();
        while len >= 0x80 {
            out.push(len as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend_from_slice(&file.bytes);
    }
    out
}

fn fields(mut rest: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (tag, start) = varint(rest);
        let (from, to) = match tag & 7 {
            0 => (start, start + varint(&rest[start..]).1),
            1 => (start, start + 8),
            2 => {
                let (len, used) = varint(&rest[start..]);
                (start + used, start + used + usize::try_from(len).expect("a length fits"))
            }
            5 => (start, start + 4),
            other => panic!("wire type {other} in a descriptor set"),
        };
        let field = Field { number: tag >> 3, whole: &rest[..to], payload: &rest[from..to] };
        rest = &rest[to..];
        Some(field)
    })
}

fn varint(bytes: &[u8]) -> (u64, usize) {
    let (mut value, mut at) = (0, 0);
    loop {
        value |= u64::from(bytes[at] & 0x7f) << (7 * at);
        at += 1;
        if bytes[at - 1] < 0x80 {
            return (value, at);
        }
    }
}

fn text(payload: &[u8]) -> String {
    String::from_utf8(payload.to_vec()).expect("names are UTF-8")
}
