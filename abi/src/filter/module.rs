//! Modules: shared objects with filters, which a config names as it names Envoy's dynamic modules.

use super::host::HOST;
use super::kind::CKind;
use super::table::{weir_filter, weir_module, weir_module_filter, weir_module_init_fn};
use crate::memory::{self, Versioned};
use crate::result::WEIR_ABI_VERSION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use weir_core::filter::{FilterFactory, FilterKind, Registry};

/// The type by which configs name filters of modules.
pub const MODULE_FILTER: &str = "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter";

/// What a module exports.
const SYMBOL: &str = "weir_module_init";

/// Filters of shared objects.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// Where `lib<name>.so` is looked for; nowhere is the system's loader's path.
    pub folder: Option<PathBuf>,
}

impl Modules {
    /// Lets configs name modules.
    pub fn register(self, registry: &mut Registry) {
        registry.register(MODULE_FILTER, Arc::new(self));
    }
}

/// A shared object in this process; it leaves with the last filter that it has the code of.
#[derive(Debug)]
pub(super) struct Loaded {
    _library: Library,
}

/// The message, in either case of names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DynamicModuleFilter {
    #[serde(alias = "dynamicModuleConfig")]
    dynamic_module_config: DynamicModuleConfig,
    #[serde(alias = "filterName", default)]
    filter_name: String,
    #[serde(alias = "filterConfig", default)]
    filter_config: Value,
    #[serde(alias = "terminalFilter", default)]
    terminal_filter: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DynamicModuleConfig {
    name: String,
    #[serde(alias = "doNotClose", default)]
    do_not_close: bool,
    #[serde(alias = "loadGlobally", default)]
    load_globally: bool,
}

impl FilterKind for Modules {
    fn configure(&self, name: &str, config_json: &str) -> Result<Arc<dyn FilterFactory>, String> {
        let message: DynamicModuleFilter = serde_json::from_str(config_json).map_err(|error| plain(&error))?;
        if message.terminal_filter {
            return Err("`terminal_filter`: Weir's chains end with the router".to_owned());
        }
        let config = config(message.filter_config)?;
        self.kind(&message.dynamic_module_config, &message.filter_name)?.factory(name, &config)
    }
}

/// What serde says, without its place in a text that nobody has written.
fn plain(error: &serde_json::Error) -> String {
    let words = error.to_string();
    words.rsplit_once(" at line ").map_or(words.clone(), |(words, _)| words.to_owned())
}

/// What the module is given, as Envoy does: a `Struct` as JSON, a `StringValue` and a `BytesValue` as they are, another message as
/// JSON.
fn config(given: Value) -> Result<Vec<u8>, String> {
    let Value::Object(mut fields) = given else {
        return match given {
            Value::Null => Ok(Vec::new()),
            _ => Err("`filter_config` must be a message with `@type`".to_owned()),
        };
    };
    let Some(Value::String(url)) = fields.remove("@type") else {
        return Err("`filter_config` has no `@type`: google.protobuf.Struct is for JSON".to_owned());
    };
    let value = fields.remove("value");
    match (url.rsplit('/').next().unwrap_or_default(), value) {
        ("google.protobuf.StringValue", Some(Value::String(text))) => Ok(text.into_bytes()),
        ("google.protobuf.BytesValue", Some(Value::String(text))) => {
            STANDARD.decode(&text).map_err(|error| format!("`filter_config.value` is not base64: {error}"))
        }
        ("google.protobuf.StringValue" | "google.protobuf.BytesValue", None) => Ok(Vec::new()),
        ("google.protobuf.StringValue" | "google.protobuf.BytesValue", _) => Err("`filter_config.value` must be a text".to_owned()),
        ("google.protobuf.Struct", Some(value)) => Ok(value.to_string().into_bytes()),
        (_, value) => {
            value.into_iter().for_each(|value| drop(fields.insert("value".to_owned(), value)));
            Ok(Value::Object(fields).to_string().into_bytes())
        }
    }
}

impl Modules {
    fn kind(&self, module: &DynamicModuleConfig, filter: &str) -> Result<CKind, String> {
        if module.name.is_empty() || module.name.contains('/') {
            return Err(format!("`dynamic_module_config.name`: `{}` is no name: `x` stands for libx.so", module.name));
        }
        let file = format!("lib{}.so", module.name);
        let path = self.folder.as_ref().map_or_else(|| PathBuf::from(&file), |folder| folder.join(&file));
        let shown = path.display();
        let flags = RTLD_NOW | if module.load_globally { RTLD_GLOBAL } else { RTLD_LOCAL };
        // SAFETY: what a shared object does when it is loaded is up to who named it in the config.
        let library = unsafe { Library::open(Some(&path), flags) };
        let hint = if self.folder.is_some() { "" } else { " (no folder for modules is set: it was looked for in the loader's path)" };
        let library = library.map_err(|error| format!("the module `{}` cannot be loaded: {}{hint}", module.name, reason(error)))?;
        let loaded = Arc::new(Loaded { _library: library });
        if module.do_not_close {
            std::mem::forget(Arc::clone(&loaded));
        }
        let table = loaded.table(filter).map_err(|why| format!("the module {shown} {why}"))?;
        // SAFETY: the module's contract; it stays loaded as long as its kind.
        Ok(unsafe { CKind::of_module(table, loaded) })
    }
}

/// What the loader says, without the name of its function.
fn reason(error: libloading::Error) -> String {
    match error {
        libloading::Error::DlOpen { source } => std::error::Error::source(&source).map_or_else(|| source.to_string(), ToString::to_string),
        other => other.to_string(),
    }
}

impl Loaded {
    /// The filter of this name.
    fn table(&self, filter: &str) -> Result<weir_filter, String> {
        // SAFETY: a symbol of this name has this type, by the contract of modules.
        let init = unsafe { self._library.get::<weir_module_init_fn>(SYMBOL.as_bytes()) };
        let init = init.ok().and_then(|init| *init);
        let Some(init) = init else {
            return Err(format!("exports no `{SYMBOL}`: it is no module for Weir (modules for Envoy have another ABI)"));
        };
        let mut module = weir_module::fresh();
        // SAFETY: the module's contract.
        let version = unsafe { init(&raw const HOST, &raw mut module) };
        match version {
            WEIR_ABI_VERSION => {}
            0 => return Err("failed to begin".to_owned()),
            other => {
                return Err(format!(
                    "was compiled with version {other} of weir.h, this Weir has version {WEIR_ABI_VERSION}: compile it again"
                ));
            }
        }
        // SAFETY: the module's contract: what it has is as it says.
        unsafe { pick(&module, filter) }
    }
}

/// # Safety
/// What `module` points to must be as it says.
unsafe fn pick(module: &weir_module, wanted: &str) -> Result<weir_filter, String> {
    let fault = |fault: crate::result::Fault| format!("is wrong: {}", fault.words);
    // SAFETY: the caller answers for it.
    let filters: &[weir_module_filter] = unsafe { memory::slice(module.filters, module.filter_count, "filters") }.map_err(fault)?;
    let mut names = Vec::new();
    for filter in filters {
        // SAFETY: the caller answers for it.
        let name = unsafe { filter.name.text("filters[].name") }.map_err(fault)?;
        if name == wanted {
            // SAFETY: the caller answers for it.
            return unsafe { memory::read(filter.filter, "filters[].filter") }.map_err(fault);
        }
        names.push(format!("`{name}`"));
    }
    Err(match names.is_empty() {
        true => "has no filters".to_owned(),
        false => format!("has no filter `{wanted}`; it has {}", names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        Modules { folder: Some("/nowhere".into()) }.configure("f", json).expect_err("it is wrong")
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refused("{}"), "missing field `dynamic_module_config`");
        assert_eq!(
            refused(r#"{"dynamic_module_config": {"name": "x", "nme": 1}}"#),
            "unknown field `nme`, expected one of `name`, `doNotClose`, `do_not_close`, `loadGlobally`, `load_globally`"
        );
        assert!(refused(r#"{"dynamicModuleConfig": {"name": "a/b"}}"#).contains("`x` stands for libx.so"));
        let missing = refused(r#"{"dynamicModuleConfig": {"name": "x"}, "filterName": "f"}"#);
        assert!(missing.starts_with("the module `x` cannot be loaded: /nowhere/libx.so: "), "{missing}");
        let libc = Modules::default().configure("f", r#"{"dynamicModuleConfig": {"name": "m"}, "filterName": "f"}"#);
        assert!(libc.is_err());
    }

    #[test]
    fn configs_are_given_as_envoy_gives_them() {
        let given =
            |json: &str| config(serde_json::from_str(json).expect("JSON")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(given("null"), Ok(String::new()));
        assert_eq!(given(r#"{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "a b"}"#), Ok("a b".into()));
        assert_eq!(given(r#"{"@type": "type.googleapis.com/google.protobuf.BytesValue", "value": "aGk="}"#), Ok("hi".into()));
        assert_eq!(given(r#"{"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"a": [1]}}"#), Ok(r#"{"a":[1]}"#.into()));
        assert_eq!(given(r#"{"@type": "acme/T", "b": 2, "value": 1}"#), Ok(r#"{"b":2,"value":1}"#.into()));
        assert!(given(r#"{"a": 1}"#).unwrap_err().contains("`@type`"));
        assert!(given(r#"{"@type": "x/google.protobuf.BytesValue", "value": "?"}"#).unwrap_err().contains("base64"));
    }
}
