//! What holds the messages together: module files, the API keys, the list of all messages.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use super::model::Message;
use super::{Family, Records, names};

/// Writes the module file of a family: its modules, its types, and for records the enums over them.
pub(super) fn module(family: &Family, messages: &[Message]) -> Result<String> {
    let mut out = String::new();
    let _ = match family.records {
        None => writeln!(
            out,
            "//! The requests, responses, headers and data of the protocol, one module each.\n//!\n\
             //! A structure is in the module of its message: [`produce_request::TopicProduceData`].\n"
        ),
        Some(Records::Coordinator { topic, .. }) => writeln!(out, "//! The records of `{topic}`.\n"),
        Some(Records::Metadata) => writeln!(out, "//! The records of `__cluster_metadata`.\n"),
    };
    let alive: Vec<&Message> = messages.iter().filter(|message| message.is_alive()).collect();
    for message in &alive {
        let _ = writeln!(out, "pub mod {};", names::snake(&message.name));
    }
    out.push('\n');
    for message in &alive {
        let _ = writeln!(out, "pub use {}::{};", names::snake(&message.name), message.name);
    }
    match family.records {
        None => {}
        Some(Records::Coordinator { prefix, topic }) => coordinator_records(&mut out, prefix, topic, &alive)?,
        Some(Records::Metadata) => metadata_records(&mut out, &alive)?,
    }
    Ok(out)
}

/// Writes `XRecordKey` and `XRecordValue`.
fn coordinator_records(out: &mut String, prefix: &str, topic: &str, messages: &[&Message]) -> Result<()> {
    let mut variants = Vec::new();
    for message in messages.iter().filter(|message| message.kind == "coordinator-key") {
        let name = message.name.strip_suffix("Key").context("a key's name")?;
        let value = format!("{name}Value");
        ensure!(messages.iter().any(|other| other.name == value), "no {value}");
        variants.push((message.api_key.context("no type")?, name));
    }
    variants.sort_unstable();
    out.push_str(
        "\nuse crate::records::{CoordinatorKey, decode_value, encode_key, encode_value};\n\
         use crate::wire::{DecodeError, EncodeError, Message, Reader, Writer};\n",
    );
    let list = |f: &dyn Fn(i16, &str) -> String| -> String {
        variants.iter().map(|(record_type, name)| f(*record_type, name) + "\n").collect()
    };
    let _ = write!(
        out,
        "\n/// The key of a record of `{topic}`, of any type.\n#[derive(Debug, Clone, PartialEq)]\n\
         pub enum {prefix}RecordKey {{\n{}}}\n\n",
        list(&|n, name| format!("/// Type {n}.\n{name}({name}Key),"))
    );
    let _ = write!(
        out,
        "impl {prefix}RecordKey {{\n\
         /// Returns the type that a key begins with.\npub fn record_type(&self) -> i16 {{\nmatch self {{\n{}}}\n}}\n\n\
         /// Reads a key with its type.\n///\n/// # Errors\n\
         /// [`DecodeError::Unknown`] for a type that Kafka 4.3 does not have, or those of the key.\n\
         pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {{\n\
         let key = match r.i16()? {{\n{}\
         other => return Err(DecodeError::Unknown {{ what: \"record type\", value: i32::from(other) }}),\n}};\n\
         Ok(key)\n}}\n\n\
         /// Writes the key with its type.\n///\n/// # Errors\n/// Those of the key.\n\
         pub fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {{\nmatch self {{\n{}}}\n}}\n}}\n",
        list(&|_, name| format!("Self::{name}(_) => {name}Key::RECORD_TYPE,")),
        list(&|n, name| format!("{n} => Self::{name}({name}Key::decode(r, 0)?),")),
        list(&|_, name| format!("Self::{name}(key) => encode_key(key, w),")),
    );
    let _ = write!(
        out,
        "\n/// The value of a record of `{topic}`, of any type.\n#[derive(Debug, Clone, PartialEq)]\n\
         pub enum {prefix}RecordValue {{\n{}}}\n\n",
        list(&|n, name| format!("/// Type {n}.\n{name}({name}Value),"))
    );
    let _ = write!(
        out,
        "impl {prefix}RecordValue {{\n\
         /// Returns the type of the key that belongs to the value.\n\
         pub fn record_type(&self) -> i16 {{\nmatch self {{\n{}}}\n}}\n\n\
         /// Reads a value with its version, for a key of the given type.\n///\n/// # Errors\n\
         /// [`DecodeError::Unknown`] for a type that Kafka 4.3 does not have, or those of the value.\n\
         pub fn decode(record_type: i16, r: &mut Reader) -> Result<Self, DecodeError> {{\n\
         let value = match record_type {{\n{}\
         other => return Err(DecodeError::Unknown {{ what: \"record type\", value: i32::from(other) }}),\n}};\n\
         Ok(value)\n}}\n\n\
         /// Writes the value with its version.\n///\n/// # Errors\n/// Those of the value.\n\
         pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\nmatch self {{\n{}}}\n}}\n}}\n",
        list(&|_, name| format!("Self::{name}(_) => {name}Key::RECORD_TYPE,")),
        list(&|n, name| format!("{n} => Self::{name}(decode_value(r)?),")),
        list(&|_, name| format!("Self::{name}(value) => encode_value(value, w, version),")),
    );
    Ok(())
}

/// Writes `MetadataRecord`.
fn metadata_records(out: &mut String, messages: &[&Message]) -> Result<()> {
    let mut variants = Vec::new();
    for message in messages {
        let name = message.name.strip_suffix("Record").context("a record's name")?;
        variants.push((message.api_key.context("no type")?, name));
    }
    variants.sort_unstable();
    let list = |f: &dyn Fn(i16, &str) -> String| -> String {
        variants.iter().map(|(api_key, name)| f(*api_key, name) + "\n").collect()
    };
    let _ = write!(
        out,
        "\nuse crate::records::{{MetadataMessage, decode_head, encode_head}};\n\
         use crate::wire::{{DecodeError, EncodeError, Message, Reader, Writer}};\n\
         \n/// A record of `__cluster_metadata`, of any type.\n#[derive(Debug, Clone, PartialEq)]\n\
         pub enum MetadataRecord {{\n{}}}\n\n\
         impl MetadataRecord {{\n\
         /// Returns the number of the type.\npub fn api_key(&self) -> i16 {{\nmatch self {{\n{}}}\n}}\n\n\
         /// Reads a record with its frame version, type and version; returns the version, too.\n///\n\
         /// # Errors\n/// [`DecodeError::Unknown`] for a frame version or type that Kafka 4.3 does not have,\n\
         /// or those of the record.\n\
         pub fn decode(r: &mut Reader) -> Result<(Self, i16), DecodeError> {{\n\
         let (api_key, version) = decode_head(r)?;\n\
         let record = match api_key {{\n{}\
         other => return Err(DecodeError::Unknown {{ what: \"metadata record type\", value: i32::from(other) }}),\n}};\n\
         Ok((record, version))\n}}\n\n\
         /// Writes the record with its frame version, type and version.\n///\n/// # Errors\n/// Those of the record.\n\
         pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n\
         encode_head(w, self.api_key(), version);\nmatch self {{\n{}}}\n}}\n}}\n",
        list(&|n, name| format!("/// Type {n}.\n{name}({name}Record),")),
        list(&|_, name| format!("Self::{name}(_) => {name}Record::API_KEY,")),
        list(&|n, name| format!("{n} => Self::{name}({name}Record::decode(r, version)?),")),
        list(&|_, name| format!("Self::{name}(record) => record.encode(w, version),")),
    );
    for (_, name) in &variants {
        let _ = write!(
            out,
            "\nimpl From<{name}Record> for MetadataRecord {{\n\
             fn from(record: {name}Record) -> Self {{\nSelf::{name}(record)\n}}\n}}\n"
        );
    }
    Ok(())
}

/// Writes the enum of the APIs and the table of their versions.
pub(super) fn api_keys(messages: &[Message]) -> Result<String> {
    let mut requests: Vec<(i16, &Message)> = Vec::new();
    for message in messages.iter().filter(|message| message.kind == "request") {
        requests.push((message.api_key.context("no API key")?, message));
    }
    requests.sort_by_key(|(code, _)| *code);
    ensure!(requests.iter().enumerate().all(|(index, (code, _))| index == *code as usize), "gap in the API keys");
    let (mut variants, mut all, mut table) = (String::new(), String::new(), String::new());
    for (code, request) in requests {
        let name = request.name.strip_suffix("Request").context("a request's name")?;
        let _ = match request.valid {
            None => writeln!(variants, "/// `{name}`, dropped before Kafka 4: no version is left.\n{name} = {code},"),
            Some(valid) => {
                writeln!(variants, "/// `{name}`, versions {} to {}.\n{name} = {code},", valid.low, valid.high)
            }
        };
        let _ = writeln!(all, "ApiKey::{name},");
        let response = messages.iter().find(|other| other.name == format!("{name}Response")).context("no response")?;
        let since = |message: &Message| message.flexible_since.map_or("i16::MAX".to_owned(), |since| since.to_string());
        let (min, max) = request.valid.map_or((0, -1), |valid| (valid.low, valid.high));
        let on = |listener: &str| request.listeners.iter().any(|other| other == listener);
        let _ = writeln!(
            table,
            "Info {{ name: \"{name}\", min_version: {min}, max_version: {max}, \
             request_flexible_since: {}, response_flexible_since: {}, \
             latest_version_unstable: {}, on_broker: {}, on_controller: {} }},",
            since(request),
            since(response),
            request.latest_version_unstable,
            on("broker"),
            on("controller"),
        );
    }
    Ok(format!(
        "use super::Info;\n\n\
         /// The API that a request is for. Its number is [`ApiKey::code`].\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\n#[non_exhaustive]\n\
         pub enum ApiKey {{\n{variants}}}\n\n\
         pub(super) const ALL: &[ApiKey] = &[\n{all}];\n\n\
         pub(super) static TABLE: &[Info] = &[\n{table}];\n"
    ))
}

/// Writes a macro that calls another one with the paths of all messages.
pub(super) fn all_messages(families: &[(&Family, Vec<Message>)]) -> String {
    let mut paths = String::new();
    for (family, messages) in families {
        for message in messages.iter().filter(|message| message.is_alive()) {
            let _ = writeln!(paths, "$crate::{}::{},", family.module.replace('/', "::"), message.name);
        }
    }
    format!(
        "//! The list of all messages, for tests and fuzz targets.\n\n\
         /// Calls a macro with the paths of all message types, separated by commas.\n\
         #[doc(hidden)]\n#[macro_export]\nmacro_rules! for_each_message {{\n($macro:ident) => {{\n$macro! {{\n\
         {paths}}}\n}};\n}}\n"
    )
}
