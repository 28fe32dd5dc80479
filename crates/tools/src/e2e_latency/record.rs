//! The records that are sent, and what has to come back of them.

use vltava_protocol::record::RecordView;

use crate::java::random::Random;

/// How long the parts of a record are, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) key: usize,
    pub(super) value: usize,
    pub(super) headers: usize,
    pub(super) header_key: usize,
    /// `None` for null.
    pub(super) header_value: Option<usize>,
}

/// A record with its own bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl From<RecordView<'_>> for Record {
    fn from(record: RecordView<'_>) -> Self {
        let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = record.headers().map(|header| (header.key().into_owned(), own(header.value())));
        Self { key: own(record.key()), value: own(record.value()), headers: headers.collect() }
    }
}

impl Record {
    /// A record of which each part is one letter again and again, as Kafka's tool makes it.
    pub(super) fn random(sizes: &Sizes, random: &mut Random) -> Self {
        let mut letters = |length| vec![b'A' + u8::try_from(random.below(26)).unwrap_or_default(); length];
        let key = Some(letters(sizes.key));
        let value = Some(letters(sizes.value));
        let headers = (0..sizes.headers).map(|_| {
            let key = String::from_utf8_lossy(&letters(sizes.header_key)).into_owned();
            (key, sizes.header_value.map(&mut letters))
        });
        Self { key, value, headers: headers.collect() }
    }

    /// Whether this one came back and nothing else: the first record of those that came, and their number.
    ///
    /// # Errors
    /// Why not, in the words of Kafka's tool.
    pub(super) fn check(&self, read: Option<&Self>, count: usize) -> Result<(), String> {
        let Some(read) = read else {
            return Err("poll() timed out before finding a result (timeout:[60000ms])".to_owned());
        };
        same("value", read.value.as_deref(), self.value.as_deref())?;
        if read.key.is_none() {
            return Err("Expected message key but received null".to_owned());
        }
        same("key", read.key.as_deref(), self.key.as_deref())?;
        self.check_headers(read)?;
        match count {
            1 => Ok(()),
            _ => Err(format!("Only one result was expected during this test. We found [{count}]")),
        }
    }

    fn check_headers(&self, read: &Self) -> Result<(), String> {
        if self.headers.is_empty() {
            return Ok(());
        }
        if read.headers.is_empty() {
            return Err("Expected message headers but received none".to_owned());
        }
        for (sent, read) in self.headers.iter().zip(&read.headers) {
            if sent != read {
                let (sent, read) = (header(sent), header(read));
                return Err(format!("The message header read [{read}] did not match the message header sent [{sent}]"));
            }
        }
        match self.headers.len() == read.headers.len() {
            true => Ok(()),
            false => Err("Header count mismatch between sent and received messages".to_owned()),
        }
    }
}

fn same(what: &str, read: Option<&[u8]>, sent: Option<&[u8]>) -> Result<(), String> {
    if read == sent {
        return Ok(());
    }
    let [read, sent] = [read, sent].map(|bytes| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned());
    Err(format!("The message {what} read [{read}] did not match the message {what} sent [{sent}]"))
}

/// A header as Java prints its key and the array of its value.
fn header((key, value): &(String, Option<Vec<u8>>)) -> String {
    let numbers = |bytes: &Vec<u8>| {
        let numbers: Vec<String> = bytes.iter().map(|byte| byte.cast_signed().to_string()).collect();
        format!("[{}]", numbers.join(", "))
    };
    let value = value.as_ref().map_or_else(|| "null".to_owned(), numbers);
    format!("{key}:{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_kafkas_tool() {
        let sizes = Sizes { key: 0, value: 3, headers: 0, header_key: 0, header_value: Some(0) };
        let mut random = Random::new(0);
        // `Random(0).nextInt(26)`: one letter for the key without bytes, one for the value.
        let values: Vec<Record> = (0..2).map(|_| Record::random(&sizes, &mut random)).collect();
        assert!(values.iter().all(|record| record.key.as_deref() == Some(b"") && record.headers.is_empty()));
        let texts: Vec<&[u8]> = values.iter().filter_map(|record| record.value.as_deref()).collect();
        assert_eq!(texts, [b"SSS", b"VVV"]);
        let sizes = Sizes { key: 1, value: 1, headers: 2, header_key: 2, header_value: None };
        let record = Record::random(&sizes, &mut Random::new(0));
        assert_eq!(record.headers, [("XX".to_owned(), None), ("VV".to_owned(), None)]);
    }

    #[test]
    fn what_comes_back_has_to_be_what_was_sent() {
        let header = |value: &[u8]| ("h".to_owned(), Some(value.to_vec()));
        let sent = Record { key: Some(b"k".to_vec()), value: Some(b"v".to_vec()), headers: vec![header(&[65, 255])] };
        for (read, count, expected) in [
            (None, 0, "poll() timed out before finding a result (timeout:[60000ms])"),
            (
                Some(Record { value: Some(b"w".to_vec()), ..sent.clone() }),
                1,
                "The message value read [w] did not match the message value sent [v]",
            ),
            (Some(Record { key: None, ..sent.clone() }), 1, "Expected message key but received null"),
            (
                Some(Record { key: Some(b"l".to_vec()), ..sent.clone() }),
                1,
                "The message key read [l] did not match the message key sent [k]",
            ),
            (Some(Record { headers: vec![], ..sent.clone() }), 1, "Expected message headers but received none"),
            (
                Some(Record { headers: vec![("h".to_owned(), None)], ..sent.clone() }),
                1,
                "The message header read [h:null] did not match the message header sent [h:[65, -1]]",
            ),
            (
                Some(Record { headers: vec![header(&[65, 255]), header(b"")], ..sent.clone() }),
                1,
                "Header count mismatch between sent and received messages",
            ),
            (Some(sent.clone()), 2, "Only one result was expected during this test. We found [2]"),
        ] {
            assert_eq!(sent.check(read.as_ref(), count), Err(expected.to_owned()));
        }
        assert_eq!(sent.check(Some(&sent), 1), Ok(()));
    }
}
