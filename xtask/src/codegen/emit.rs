//! The Rust file of one message.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::model::{Condition, Default, Field, Message, Struct, Type};

/// Writes the file: the message's structures with their codecs.
pub(super) fn file(message: &Message) -> Result<String> {
    let mut body = String::new();
    for (index, structure) in message.structs.iter().enumerate() {
        definition(&mut body, message, structure, index == 0)?;
        codec(&mut body, message, structure)?;
    }
    message_impls(&mut body, message)?;
    Ok(format!("//! {}\n\n{}{body}", describe(message)?, imports(&body)))
}

fn imports(body: &str) -> String {
    let mut wire = vec!["Decoder", "Encoder", "Message", "Wire"];
    if body.contains("impl Request for") {
        wire.push("Request");
    }
    wire.extend(["Records", "UnknownTaggedFields"].into_iter().filter(|name| uses(body, name)));
    wire.sort_unstable();
    let mut out = String::new();
    if uses(body, "Bytes") {
        out.push_str("use bytes::Bytes;\n\n");
    }
    let _ = writeln!(out, "use crate::wire::{{{}}};", wire.join(", "));
    if uses(body, "Uuid") {
        out.push_str("use crate::Uuid;\n");
    }
    if body.contains("impl Request for") {
        out.push_str("use crate::ApiKey;\n");
    }
    out.push('\n');
    out
}

fn describe(message: &Message) -> Result<String> {
    let valid = message.valid.context("dropped")?;
    let versions = if valid.low == valid.high {
        format!("version {}", valid.low)
    } else {
        format!("versions {} to {}", valid.low, valid.high)
    };
    let flexible = match message.flexible_since {
        Some(since) if since <= valid.low => ", flexible".to_owned(),
        Some(since) if since <= valid.high => format!(", flexible from {since} on"),
        _ => String::new(),
    };
    Ok(format!("Kafka's `{}`, {versions}{flexible}.", message.name))
}

fn definition(out: &mut String, message: &Message, structure: &Struct, is_top: bool) -> Result<()> {
    if is_top {
        let _ = writeln!(out, "/// {}", describe(message)?);
    } else {
        let _ = writeln!(out, "/// A `{}` within [`{}`].", structure.name, message.name);
    }
    let by_type = structure.fields.iter().all(|field| field.is_default_by_type());
    let default = if by_type { ", Default" } else { "" };
    let _ = writeln!(out, "#[derive(Debug, Clone, PartialEq{default})]\npub struct {} {{", structure.name);
    for field in &structure.fields {
        let _ = writeln!(out, "/// {}\npub {}: {},", field.doc(), field.ident, field.rust_type());
    }
    if message.is_ever_flexible() {
        out.push_str("/// Tagged fields that this code does not know.\n");
        out.push_str("pub unknown_tagged_fields: UnknownTaggedFields,\n");
    }
    out.push_str("}\n\n");
    if !by_type {
        let _ = writeln!(out, "impl Default for {} {{\nfn default() -> Self {{\nSelf {{", structure.name);
        for field in &structure.fields {
            let _ = writeln!(out, "{}: {},", field.ident, field.default_expression());
        }
        if message.is_ever_flexible() {
            out.push_str("unknown_tagged_fields: UnknownTaggedFields::default(),\n");
        }
        out.push_str("}\n}\n}\n\n");
    }
    Ok(())
}

fn codec(out: &mut String, message: &Message, structure: &Struct) -> Result<()> {
    let read = read_body(message, structure);
    let write = write_body(message, structure);
    let name =
        |body: &str, param: &str| if uses_variable(body, param) { param.to_owned() } else { format!("_{param}") };
    let _ = write!(
        out,
        "impl Wire for {} {{\nconst MIN_SIZE: usize = {};\n\n\
         #[inline]\nfn read({}: &mut Decoder<'_>, {}: i16, {}: bool) -> Self {{\n{read}}}\n\n\
         #[inline]\nfn write(&self, {}: &mut Encoder<'_>, {}: i16, {}: bool) {{\n{write}}}\n}}\n\n",
        structure.name,
        message.min_size(structure)?,
        name(&read, "r"),
        name(&read, "version"),
        name(&read, "flexible"),
        name(&write, "w"),
        name(&write, "version"),
        name(&write, "flexible"),
    );
    Ok(())
}

fn uses(body: &str, name: &str) -> bool {
    body.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name)
}

/// As [`uses`], where the name is not that of a field.
fn uses_variable(body: &str, name: &str) -> bool {
    uses(&body.replace(&format!(".{name}"), "").replace(&format!("{name}: "), ""), name)
}

fn read_body(message: &Message, structure: &Struct) -> String {
    let tagged: Vec<&Field> = structure.tagged();
    let mut literal = String::from("Self {\n");
    for field in &structure.fields {
        let value = match (field.tag, field.present.expression()) {
            (Some(_), _) => field.default_expression(),
            (None, None) => field.read_expression(),
            (None, Some(present)) => {
                format!("if {present} {{ {} }} else {{ {} }}", field.read_expression(), field.default_expression())
            }
        };
        let _ = writeln!(literal, "{}: {value},", field.ident);
    }
    if message.is_ever_flexible() {
        let unknown = if tagged.is_empty() { "r.unknown_tags(flexible)" } else { "UnknownTaggedFields::default()" };
        let _ = writeln!(literal, "unknown_tagged_fields: {unknown},");
    }
    literal.push('}');
    if tagged.is_empty() {
        return format!("{literal}\n");
    }
    let mut arms = String::new();
    for field in tagged {
        let guard = field.present.expression().map(|present| format!(" if {present}")).unwrap_or_default();
        let tag = field.tag.unwrap_or_default();
        let _ = writeln!(arms, "{tag}{guard} => value.{} = {},", field.ident, field.read_expression());
    }
    format!(
        "let mut value = {literal};\nlet mut left = r.tags(flexible);\n\
         while let Some(tag) = r.next_tag(&mut left) {{\n\
         match tag.number {{\n{arms}_ => r.unknown_tag(&tag, &mut value.unknown_tagged_fields),\n}}\n\
         r.end_tag(tag);\n}}\nvalue\n"
    )
}

fn write_body(message: &Message, structure: &Struct) -> String {
    let mut out = String::new();
    for field in &structure.fields {
        let write = format!("{};", field.write_expression(structure));
        let path = format!("{}.{}", structure.name, field.ident.trim_start_matches("r#"));
        let refuse = format!("if {} {{ w.unsupported(\"{path}\", version); }}", field.is_set());
        match (field.tag, field.present.expression()) {
            (None, None) => out.push_str(&write),
            (None, Some(present)) if field.ignorable => {
                let _ = write!(out, "if {present} {{ {write} }}");
            }
            (None, Some(present)) => {
                let _ = write!(out, "if {present} {{ {write} }} else {refuse}");
            }
            (Some(_), Some(_)) if !field.ignorable => {
                let absent = field.present.negation().unwrap_or_default();
                let _ = write!(out, "if {absent} && {}", refuse.trim_start_matches("if "));
            }
            (Some(_), _) => {}
        }
        out.push('\n');
    }
    if !message.is_ever_flexible() {
        return out;
    }
    let mut tagged = structure.tagged();
    if tagged.is_empty() {
        out.push_str("w.unknown_tags(&self.unknown_tagged_fields, version, flexible);\n");
        return out;
    }
    tagged.sort_by_key(|field| field.tag);
    if message.flexible_since.is_some_and(|since| since > structure.versions.low) {
        out.push_str("if !flexible {\nreturn w.unknown_tags(&self.unknown_tagged_fields, version, flexible);\n}\n");
    }
    out.push_str("let mut tags = w.tags(&self.unknown_tagged_fields);\n");
    for field in tagged {
        let present = field.present.expression().map(|present| format!("{present} && ")).unwrap_or_default();
        let write = field.write_expression(structure);
        let (set, tag) = (field.is_set(), field.tag.unwrap_or_default());
        let _ = writeln!(
            out,
            "if {present}{set} {{\nlet tag = w.begin_tag(&mut tags, {tag});\n{write};\nw.end_tag(tag);\n}}"
        );
    }
    out.push_str("w.end_tags(tags);\n");
    out
}

fn message_impls(out: &mut String, message: &Message) -> Result<()> {
    let valid = message.valid.context("dropped")?;
    let name = &message.name;
    let flexible = message.flexible_since.map_or("i16::MAX".to_owned(), |since| since.to_string());
    let _ = write!(
        out,
        "impl Message for {name} {{\nconst NAME: &'static str = \"{name}\";\n\
         const MIN_VERSION: i16 = {};\nconst MAX_VERSION: i16 = {};\nconst FLEXIBLE_SINCE: i16 = {flexible};\n",
        valid.low, valid.high
    );
    let mut fields = message.structs.iter().take(1).flat_map(|top| &top.fields);
    if message.kind == "response" && fields.any(|field| field.ident == "throttle_time_ms") {
        out.push_str(
            "\nfn throttle_time_ms(&self) -> i32 {\nself.throttle_time_ms\n}\n\n\
             fn set_throttle_time_ms(&mut self, throttle_time_ms: i32) {\nself.throttle_time_ms = throttle_time_ms;\n}\n",
        );
    }
    out.push_str("}\n");
    match (message.kind.as_str(), message.api_key) {
        ("request", Some(_)) => {
            let api = name.strip_suffix("Request").context("a request's name")?;
            let _ = write!(
                out,
                "\nimpl Request for {name} {{\ntype Response = super::{api}Response;\n\
                 const API_KEY: ApiKey = ApiKey::{api};\n}}\n"
            );
        }
        ("coordinator-key", Some(record_type)) => {
            let value = format!("{}Value", name.strip_suffix("Key").context("a key's name")?);
            let _ = write!(
                out,
                "\nimpl crate::records::CoordinatorKey for {name} {{\ntype Value = super::{value};\n\
                 const RECORD_TYPE: i16 = {record_type};\n}}\n"
            );
        }
        ("metadata", Some(api_key)) => {
            let _ = write!(
                out,
                "\nimpl crate::records::MetadataMessage for {name} {{\nconst API_KEY: i16 = {api_key};\n}}\n"
            );
        }
        _ => {}
    }
    Ok(())
}

impl Struct {
    fn tagged(&self) -> Vec<&Field> {
        self.fields.iter().filter(|field| field.tag.is_some()).collect()
    }
}

impl Type {
    fn rust(&self) -> String {
        match self {
            Self::Bool => "bool".into(),
            Self::Int8 => "i8".into(),
            Self::Int16 => "i16".into(),
            Self::Uint16 => "u16".into(),
            Self::Int32 => "i32".into(),
            Self::Uint32 => "u32".into(),
            Self::Int64 => "i64".into(),
            Self::Float64 => "f64".into(),
            Self::Uuid => "Uuid".into(),
            Self::String => "String".into(),
            Self::Bytes => "Bytes".into(),
            Self::Records => "Records".into(),
            Self::Struct(name) => name.clone(),
            Self::Array(element) => format!("Vec<{}>", element.rust()),
        }
    }

    /// Kafka's name of the type.
    pub(super) fn kafka(&self) -> String {
        match self {
            Self::Bool => "bool".into(),
            Self::Int8 => "int8".into(),
            Self::Int16 => "int16".into(),
            Self::Uint16 => "uint16".into(),
            Self::Int32 => "int32".into(),
            Self::Uint32 => "uint32".into(),
            Self::Int64 => "int64".into(),
            Self::Float64 => "float64".into(),
            Self::Uuid => "uuid".into(),
            Self::String => "string".into(),
            Self::Bytes => "bytes".into(),
            Self::Records => "records".into(),
            Self::Struct(name) => name.clone(),
            Self::Array(element) => format!("[]{}", element.kafka()),
        }
    }
}

impl Field {
    fn is_option(&self) -> bool {
        self.nullable != Condition::Never
    }

    fn rust_type(&self) -> String {
        if self.is_option() { format!("Option<{}>", self.kind.rust()) } else { self.kind.rust() }
    }

    /// Returns whether the Rust type's own default is the field's.
    fn is_default_by_type(&self) -> bool {
        match self.default {
            Default::Type => !self.is_option(),
            Default::Null => true,
            Default::Literal(_) => false,
        }
    }

    fn default_expression(&self) -> String {
        let value = match (&self.default, &self.kind) {
            (Default::Null, _) => return "None".into(),
            (Default::Literal(text), _) => text.clone(),
            (Default::Type, Type::Bool) => "false".into(),
            (Default::Type, Type::Float64) => "0.0".into(),
            (Default::Type, Type::Uuid) => "Uuid::ZERO".into(),
            (Default::Type, Type::String) => "String::new()".into(),
            (Default::Type, Type::Bytes) => "Bytes::new()".into(),
            (Default::Type, Type::Records) => "Records::default()".into(),
            (Default::Type, Type::Array(_)) => "Vec::new()".into(),
            (Default::Type, Type::Struct(name)) => format!("{name}::default()"),
            (Default::Type, _) => "0".into(),
        };
        if self.is_option() { format!("Some({value})") } else { value }
    }

    /// Returns the condition that the value is not the default.
    fn is_set(&self) -> String {
        let this = format!("self.{}", self.ident);
        match (&self.default, &self.kind) {
            (Default::Null, _) => format!("{this}.is_some()"),
            (Default::Type, Type::Struct(_)) if self.is_option() => {
                format!("{this} != {}", self.default_expression())
            }
            (Default::Type, _) if self.is_option() => format!("{this}.as_ref().is_none_or(|it| !it.is_empty())"),
            (Default::Type, Type::Bool) => this,
            (Default::Literal(text), Type::Bool) if text == "true" => format!("!{this}"),
            (Default::Type, Type::String | Type::Bytes | Type::Records | Type::Array(_)) => {
                format!("!{this}.is_empty()")
            }
            (Default::Type, Type::Uuid) => format!("!{this}.is_zero()"),
            _ => format!("{this} != {}", self.default_expression()),
        }
    }

    fn flexible(&self) -> &'static str {
        if self.never_flexible { "false" } else { "flexible" }
    }

    fn read_expression(&self) -> String {
        match self.nullable.expression() {
            None => self.read_as(self.is_option()),
            Some(nullable) => {
                format!("if {nullable} {{ {} }} else {{ Some({}) }}", self.read_as(true), self.read_as(false))
            }
        }
    }

    fn read_as(&self, optional: bool) -> String {
        let flexible = self.flexible();
        let opt = if optional { "opt_" } else { "" };
        match &self.kind {
            Type::String => format!("r.{opt}string({flexible})"),
            Type::Bytes => format!("r.{opt}bytes({flexible})"),
            Type::Records => format!("r.{opt}records({flexible})"),
            Type::Array(_) => format!("r.{opt}array(version, {flexible})"),
            Type::Struct(_) if optional && self.tag.is_some() => {
                format!("r.opt_tagged_struct(version, {flexible})")
            }
            Type::Struct(_) if optional => format!("r.opt_struct(version, {flexible})"),
            Type::Struct(name) => format!("{name}::read(r, version, {flexible})"),
            Type::Uuid => "r.uuid()".into(),
            simple => format!("r.{}()", simple.rust()),
        }
    }

    /// The call that writes the value.
    fn write_expression(&self, structure: &Struct) -> String {
        let this = format!("self.{}", self.ident);
        let flexible = self.flexible();
        if !self.is_option() {
            return match &self.kind {
                Type::String => format!("w.string(&{this}, {flexible})"),
                Type::Bytes => format!("w.bytes(&{this}, {flexible})"),
                Type::Records => format!("w.records(&{this}, {flexible})"),
                Type::Array(_) => format!("w.array(&{this}, version, {flexible})"),
                Type::Struct(_) => format!("{this}.write(w, version, {flexible})"),
                Type::Uuid => format!("w.uuid({this})"),
                simple => format!("w.{}({this})", simple.rust()),
            };
        }
        let write = match &self.kind {
            Type::String => format!("w.opt_string({this}.as_deref(), {flexible})"),
            Type::Bytes => format!("w.opt_bytes({this}.as_ref(), {flexible})"),
            Type::Records => format!("w.opt_records({this}.as_ref(), {flexible})"),
            Type::Array(_) => format!("w.opt_array({this}.as_deref(), version, {flexible})"),
            Type::Struct(_) if self.tag.is_some() => {
                format!("w.opt_tagged_struct({this}.as_ref(), version, {flexible})")
            }
            _ => format!("w.opt_struct({this}.as_ref(), version, {flexible})"),
        };
        match self.nullable.negation() {
            None => write,
            Some(not_nullable) => {
                let path = format!("{}.{}", structure.name, self.ident.trim_start_matches("r#"));
                format!("if {this}.is_none() && {not_nullable} {{ w.unexpected_null(\"{path}\", version); }}\n{write}")
            }
        }
    }

    fn doc(&self) -> String {
        let mut doc = format!("`{}` (`{}`)", self.name, self.kind.kafka());
        let mut facts = Vec::new();
        facts.extend(self.present.words().map(|words| format!("in {words}")));
        match self.nullable {
            Condition::Never => {}
            Condition::Always => facts.push("nullable".to_owned()),
            partly => facts.extend(partly.words().map(|words| format!("nullable in {words}"))),
        }
        match &self.default {
            Default::Type => {}
            Default::Null => facts.push("null by default".to_owned()),
            Default::Literal(text) => facts.push(format!("`{text}` by default")),
        }
        facts.extend(self.tag.map(|tag| format!("tag {tag}")));
        if self.ignorable && self.present != Condition::Always {
            facts.push("dropped elsewhere".to_owned());
        }
        for fact in facts {
            doc.push_str(", ");
            doc.push_str(&fact);
        }
        doc.push('.');
        doc
    }
}

impl Condition {
    fn words(self) -> Option<String> {
        match self {
            Self::Always | Self::Never => None,
            Self::From(low) => Some(format!("versions {low}+")),
            Self::UpTo(high) => Some(format!("versions up to {high}")),
            Self::Between(low, high) if low == high => Some(format!("version {low}")),
            Self::Between(low, high) => Some(format!("versions {low} to {high}")),
        }
    }
}
