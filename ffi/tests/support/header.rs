//! What `include/weir.h` declares, read from its text: cbindgen writes it in one shape, so a few lines are enough.

use super::root;

/// A parameter of a function, or a field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// As C has it, with one space between words and none before a `*`: `const struct weir_engine*`.
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Slot {
    fn read(text: &str) -> Slot {
        // A pointer to a function has its name in the middle.
        if let Some((returns, (name, takes))) = text.split_once("(*").and_then(|(head, rest)| Some((head, rest.split_once(')')?))) {
            return Slot { kind: squeeze(returns) + "(*)" + &squeeze(takes), name: name.to_owned() };
        }
        let (text, array) = text.split_once('[').map_or((text, String::new()), |(text, rest)| (text, format!("[{rest}")));
        let name_at = text.rfind(|letter: char| letter != '_' && !letter.is_alphanumeric()).map_or(0, |at| at + 1);
        let (kind, name) = text.split_at(name_at);
        Slot { kind: squeeze(kind) + &array, name: name.to_owned() }
    }
}

/// An exported function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) returns: String,
    pub(crate) name: String,
    pub(crate) takes: Vec<Slot>,
}

/// A struct, or an enum with its values as fields of no type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) fields: Vec<Slot>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Header {
    pub(crate) functions: Vec<Function>,
    pub(crate) structs: Vec<Type>,
    pub(crate) enums: Vec<Type>,
    pub(crate) opaque: Vec<String>,
    /// Pointers to functions: name, and what it is a pointer to.
    pub(crate) callbacks: Vec<(String, String)>,
    pub(crate) constants: Vec<String>,
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" *", "*")
}

impl Header {
    pub(crate) fn read() -> Header {
        let text = std::fs::read_to_string(root().join("../include/weir.h")).expect("include/weir.h");
        let mut header = Header::default();
        let (declared, _) = text.split_once("/* A struct that begins with its size").expect("the header's end");
        let declared = declared.split_once("#define WEIR_H\n").expect("the header's guard").1;
        let code: Vec<&str> = declared.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for line in code.iter().filter_map(|line| line.strip_prefix("#define ")) {
            header.constants.extend(line.split_whitespace().next().map(str::to_owned));
        }
        let plain: Vec<&str> =
            code.into_iter().filter(|line| !line.starts_with('#') && !line.starts_with('}') || line.ends_with(';')).collect();
        let mut rest = &*plain.join("\n").replace("extern \"C\" {", "");
        while let Some(end) = end_of_declaration(rest) {
            header.declare(rest[..end].trim());
            rest = &rest[end + 1..];
        }
        assert!(rest.trim().is_empty(), "what is this in the header? {rest}");
        header
    }

    fn declare(&mut self, text: &str) {
        let words = squeeze(text);
        if let Some(body) = words.strip_prefix("typedef enum ") {
            let (name, values) = body.split_once(" {").expect("an enum");
            let values = values.split('}').next().unwrap_or_default().split(',').filter(|value| !value.trim().is_empty());
            let fields = values.map(|value| value.split('=').next().unwrap_or_default().trim().to_owned());
            let fields = fields.map(|name| Slot { kind: String::new(), name }).collect();
            self.enums.push(Type { name: name.to_owned(), fields });
        } else if let Some(body) = words.strip_prefix("typedef struct ") {
            match body.split_once(" {") {
                None => self.opaque.push(body.split(' ').next().unwrap_or_default().to_owned()),
                Some((name, fields)) => {
                    let fields = fields.rsplit_once('}').expect("its end").0;
                    let fields = fields.split(';').filter(|field| !field.trim().is_empty()).map(|field| Slot::read(field.trim())).collect();
                    self.structs.push(Type { name: name.to_owned(), fields });
                }
            }
        } else if let Some(body) = words.strip_prefix("typedef ") {
            let (name, _) = body.split_once("(*").and_then(|(_, rest)| rest.split_once(')')).expect("a pointer to a function");
            self.callbacks.push((name.to_owned(), body.replace(name, "")));
        } else {
            let (head, takes) = words.split_once('(').expect("a function");
            let Slot { kind: returns, name } = Slot::read(head);
            let takes = takes.trim_end_matches(')').split(',').map(str::trim).filter(|slot| *slot != "void").map(Slot::read).collect();
            self.functions.push(Function { returns, name, takes });
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Type> {
        self.structs.iter().find(|found| found.name == name)
    }
}

/// Where the `;` of the first declaration is, behind all of its braces.
fn end_of_declaration(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(at, letter)| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        (letter == ';' && depth == 0).then_some(at)
    })
}
