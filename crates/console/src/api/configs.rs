//! `/api/topics/NAME/configs` and `/api/brokers/ID/configs`: settings, and where each value comes from.

use serde_json::{Value, json};
use vltava_client::admin::{ConfigEntry, ConfigResource, ConfigSynonym};

use super::Problem;
use crate::console::Shared;

pub(super) async fn configs(shared: &Shared, resource: ConfigResource) -> Result<Value, Problem> {
    let described = shared.admin.describe_configs([resource]).await.into_values().next();
    let mut entries = described.ok_or_else(|| Problem::missing("the cluster does not answer for this resource"))??;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(json!({"configs": entries.iter().map(entry).collect::<Vec<_>>()}))
}

fn entry(entry: &ConfigEntry) -> Value {
    let synonym = |it: &ConfigSynonym| json!({"name": it.name, "value": it.value, "source": it.source.name()});
    json!({
        "name": entry.name,
        "value": entry.value,
        "source": entry.source.name(),
        "is_sensitive": entry.is_sensitive,
        "is_read_only": entry.is_read_only,
        "type": format!("{:?}", entry.config_type).to_uppercase(),
        "synonyms": entry.synonyms.iter().map(synonym).collect::<Vec<_>>(),
    })
}
