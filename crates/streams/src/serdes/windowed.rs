//! Windowed keys as bytes, as they are in topics (not in stores).

use std::{sync::Arc, time::Duration};

use super::{Serde, SerdeConfig, SerdeRef};
use crate::{
    error::SerdeError,
    state::millis,
    windowed::{Window, WindowedKey},
};

/// The key's bytes and the window's start in ms (8 bytes, big endian): Kafka's `TimeWindowedSerde`. Reading needs the
/// windows' size, for it is not in the bytes.
pub struct TimeWindowedSerde<K> {
    inner: SerdeRef<K>,
    size: i64,
}

impl<K> std::fmt::Debug for TimeWindowedSerde<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimeWindowedSerde").field("size", &self.size).finish_non_exhaustive()
    }
}

impl<K: 'static> TimeWindowedSerde<K> {
    /// For windows of this size.
    pub fn new(inner: impl Serde<K>, window_size: Duration) -> Self {
        Self::of(std::sync::Arc::new(inner), millis(window_size))
    }

    pub(crate) fn of(inner: SerdeRef<K>, size: i64) -> Self {
        TimeWindowedSerde { inner, size }
    }
}

impl<W: WindowedKey> Serde<W> for TimeWindowedSerde<W::Key> {
    fn serialize(&self, topic: &str, key: &W, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.inner.serialize(topic, key.key(), out)?;
        out.extend_from_slice(&key.window().start().to_be_bytes());
        Ok(())
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<W, SerdeError> {
        let (key, start) = last_long(bytes)?;
        let window = Window::new(start, start.saturating_add(self.size));
        Ok(W::in_window(self.inner.deserialize(topic, key)?, window))
    }

    fn window_len(&self) -> usize {
        8
    }

    fn configure(&self, config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<W>> {
        let inner = self.inner.configure(config, is_key)?;
        Some(Arc::new(TimeWindowedSerde::of(inner, self.size)))
    }

    fn needs_configuration(&self) -> bool {
        self.inner.needs_configuration()
    }
}

/// The key's bytes, the session's end and its start in ms (8 bytes each, big endian): Kafka's `SessionWindowedSerde`.
pub struct SessionWindowedSerde<K>(SerdeRef<K>);

impl<K> std::fmt::Debug for SessionWindowedSerde<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionWindowedSerde")
    }
}

impl<K: 'static> SessionWindowedSerde<K> {
    /// With this serde for the keys themselves.
    pub fn new(inner: impl Serde<K>) -> Self {
        Self::of(std::sync::Arc::new(inner))
    }

    pub(crate) fn of(inner: SerdeRef<K>) -> Self {
        SessionWindowedSerde(inner)
    }
}

impl<W: WindowedKey> Serde<W> for SessionWindowedSerde<W::Key> {
    fn serialize(&self, topic: &str, key: &W, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.0.serialize(topic, key.key(), out)?;
        out.extend_from_slice(&key.window().end().to_be_bytes());
        out.extend_from_slice(&key.window().start().to_be_bytes());
        Ok(())
    }

    fn deserialize(&self, topic: &str, bytes: &[u8]) -> Result<W, SerdeError> {
        let (rest, start) = last_long(bytes)?;
        let (key, end) = last_long(rest)?;
        Ok(W::in_window(self.0.deserialize(topic, key)?, Window::new(start, end)))
    }

    fn window_len(&self) -> usize {
        16
    }

    fn configure(&self, config: &SerdeConfig, is_key: bool) -> Option<SerdeRef<W>> {
        let inner = self.0.configure(config, is_key)?;
        Some(Arc::new(SessionWindowedSerde::of(inner)))
    }

    fn needs_configuration(&self) -> bool {
        self.0.needs_configuration()
    }
}

fn last_long(bytes: &[u8]) -> Result<(&[u8], i64), SerdeError> {
    let (rest, last) = bytes.split_last_chunk::<8>().ok_or_else(|| SerdeError::new("no window in a windowed key"))?;
    Ok((rest, i64::from_be_bytes(*last)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Windowed, serdes::StringSerde};

    #[test]
    fn bytes_are_kafkas() {
        let key = Windowed::new("k".to_owned(), Window::new(5, 15));
        let mut bytes = Vec::new();
        let serde = TimeWindowedSerde::new(StringSerde, Duration::from_millis(10));
        serde.serialize("t", &key, &mut bytes).unwrap();
        assert_eq!(bytes, [&b"k"[..], &5i64.to_be_bytes()].concat());
        assert_eq!(Serde::<Windowed<String>>::deserialize(&serde, "t", &bytes).unwrap(), key);
        let serde = SessionWindowedSerde::new(StringSerde);
        bytes.clear();
        serde.serialize("t", &key, &mut bytes).unwrap();
        assert_eq!(bytes, [&b"k"[..], &15i64.to_be_bytes(), &5i64.to_be_bytes()].concat());
        assert_eq!(Serde::<Windowed<String>>::deserialize(&serde, "t", &bytes).unwrap(), key);
        assert!(Serde::<Windowed<String>>::deserialize(&serde, "t", b"short").is_err());
    }
}
