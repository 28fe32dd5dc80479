//! What an application's configuration says to its serdes.

use vltava_config::{Reader, Settings, class_name};

/// The settings that a serde may ask for in [`Serde::configure`](crate::Serde::configure): all that the application was
/// given. The default has none; it is what clients give to their serdes.
#[derive(Clone, Debug, Default)]
pub struct SerdeConfig {
    settings: Option<Settings>,
    application_id: Option<String>,
    key: Option<NamedSerde>,
    value: Option<NamedSerde>,
}

/// The serde that `default.key.serde` or `default.value.serde` names, by Kafka's class without its package.
#[derive(Clone, Debug)]
pub(crate) struct NamedSerde {
    pub(crate) class: String,
    /// Of a list's entries.
    pub(crate) inner: Option<String>,
}

impl SerdeConfig {
    /// From checked settings.
    #[must_use]
    pub fn read(reader: &Reader<'_>) -> Self {
        let named = |class, inner| {
            let (class, inner) = (reader.non_empty(class), reader.non_empty(inner));
            let simple = |class| class_name(class).to_owned();
            Some(NamedSerde { class: simple(class?), inner: inner.map(simple) })
        };
        SerdeConfig {
            settings: Some(reader.settings().clone()),
            application_id: None,
            key: named("default.key.serde", "default.list.key.serde.inner"),
            value: named("default.value.serde", "default.list.value.serde.inner"),
        }
    }

    /// The same for the serdes of this application.
    #[must_use]
    pub fn of_application(self, id: impl Into<String>) -> Self {
        SerdeConfig { application_id: Some(id.into()), ..self }
    }

    /// `application.id`; none for the serdes of a client.
    #[must_use]
    pub fn application_id(&self) -> Option<&str> {
        self.application_id.as_deref()
    }

    /// The value of a key: as given, else Kafka's default, if there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.as_ref()?.text(key)
    }

    pub(crate) fn named(&self, is_key: bool) -> Option<&NamedSerde> {
        if is_key { self.key.as_ref() } else { self.value.as_ref() }
    }
}
