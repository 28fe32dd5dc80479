//! How records look.

use std::io::Write;

use vltava_client::TopicPartition;
use vltava_protocol::record::{RecordView, TimestampType};

use super::deserializer::Deserializer;
use crate::failure::Failure;
use crate::properties::{self, Properties};

/// What prints records.
#[derive(Debug)]
pub(super) enum Formatter {
    Default(Box<DefaultFormatter>),
    /// Prints nothing.
    NoOp,
}

impl Formatter {
    /// The formatter of this class name, with or without its package.
    pub(super) fn new(class: &str, settings: &Properties) -> Result<Self, Failure> {
        match class.strip_prefix("org.apache.kafka.tools.consumer.").unwrap_or(class) {
            "DefaultMessageFormatter" => Ok(Self::Default(Box::new(DefaultFormatter::new(settings)?))),
            "NoOpMessageFormatter" => Ok(Self::NoOp),
            _ => Err(Failure::Message(format!("--formatter {class} is not supported yet"))),
        }
    }
}

/// Columns of a record, in Kafka's order.
#[derive(Debug)]
pub(super) struct DefaultFormatter {
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
    key_deserializer: Option<Deserializer>,
    value_deserializer: Option<Deserializer>,
    headers_deserializer: Option<Deserializer>,
}

impl DefaultFormatter {
    fn new(settings: &Properties) -> Result<Self, Failure> {
        let text = |key: &str, default: &str| properties::get(settings, key).unwrap_or(default).to_owned();
        let print = |column: &str, default: &str| text(column, default).trim().eq_ignore_ascii_case("true");
        let deserializer = |key: &str| properties::get(settings, key).map(Deserializer::by_class).transpose();
        Ok(Self {
            timestamp: print("print.timestamp", ""),
            partition: print("print.partition", ""),
            offset: print("print.offset", ""),
            delivery: print("print.delivery", ""),
            epoch: print("print.epoch", ""),
            headers: print("print.headers", ""),
            key: print("print.key", ""),
            value: print("print.value", "true"),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key_deserializer: deserializer("key.deserializer")?,
            value_deserializer: deserializer("value.deserializer")?,
            headers_deserializer: deserializer("headers.deserializer")?,
        })
    }

    /// Writes one record; its columns have the key separator between them, and the line separator
    /// comes at the end.
    pub(super) fn write(
        &self,
        partition: &TopicPartition,
        kind: TimestampType,
        record: &RecordView<'_>,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let mut columns = Columns { format: self, first: true, out };
        if self.timestamp {
            let kind = match kind {
                TimestampType::LogAppendTime => "LogAppendTime",
                _ => "CreateTime",
            };
            columns.text(&format!("{kind}:{}", record.timestamp()))?;
        }
        if self.partition {
            columns.text(&format!("Partition:{}", partition.partition()))?;
        }
        if self.offset {
            columns.text(&format!("Offset:{}", record.offset()))?;
        }
        // Kafka's tool hands neither of these two to its formatter.
        if self.delivery {
            columns.text("Delivery:NOT_PRESENT")?;
        }
        if self.epoch {
            columns.text("Epoch:NOT_PRESENT")?;
        }
        if self.headers {
            columns.headers(record)?;
        }
        if self.key {
            columns.bytes(record.key(), self.key_deserializer.as_ref())?;
        }
        if self.value {
            columns.bytes(record.value(), self.value_deserializer.as_ref())?;
        }
        if !columns.first {
            out.write_all(self.line_separator.as_bytes())?;
        }
        Ok(())
    }
}

/// A line that is being written.
struct Columns<'a> {
    format: &'a DefaultFormatter,
    first: bool,
    out: &'a mut dyn Write,
}

impl Columns<'_> {
    fn separate(&mut self) -> Result<(), Failure> {
        if !self.first {
            self.out.write_all(self.format.key_separator.as_bytes())?;
        }
        self.first = false;
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.separate()?;
        Ok(self.out.write_all(text.as_bytes())?)
    }

    fn bytes(&mut self, bytes: Option<&[u8]>, deserializer: Option<&Deserializer>) -> Result<(), Failure> {
        self.separate()?;
        self.deserialized(bytes, deserializer)
    }

    fn deserialized(&mut self, bytes: Option<&[u8]>, deserializer: Option<&Deserializer>) -> Result<(), Failure> {
        // The null literal goes through the deserializer as well, as it does in Kafka's tool.
        let bytes = bytes.unwrap_or(self.format.null_literal.as_bytes());
        match deserializer {
            Some(deserializer) => self.out.write_all(deserializer.text(bytes)?.as_bytes())?,
            None => self.out.write_all(bytes)?,
        }
        Ok(())
    }

    fn headers(&mut self, record: &RecordView<'_>) -> Result<(), Failure> {
        if record.headers().is_empty() {
            return self.text("NO_HEADERS");
        }
        self.separate()?;
        for (index, header) in record.headers().enumerate() {
            if index > 0 {
                self.out.write_all(self.format.headers_separator.as_bytes())?;
            }
            write!(self.out, "{}:", header.key())?;
            self.deserialized(header.value(), self.format.headers_deserializer.as_ref())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
