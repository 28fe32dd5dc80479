//! The paths under `/api/`, which `docs/console.md` describes; each is a file here.

mod applications;
mod brokers;
mod configs;
mod events;
mod group;
mod groups;
mod lag_time;
mod overview;
mod problem;
mod records;
mod reset;
mod streams_group;
mod topic;
mod topics;

use std::sync::Arc;

use serde_json::Value;
use vltava_client::admin::{ConfigResource, ResourceType};

pub(crate) use self::events::events;
pub(crate) use self::problem::Problem;
use crate::console::Shared;
use crate::query::{Query, decoded};

/// Answers a request for `path` with the text behind its question mark.
pub(crate) async fn answer(shared: &Arc<Shared>, path: &str, query: &str) -> Result<Value, Problem> {
    let parts: Vec<String> = path.split('/').skip(1).map(decoded).collect::<Result<_, _>>()?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let asked = |known: &[&str]| Query::parse(query, known);
    match *parts.as_slice() {
        ["api", "overview"] => {
            asked(&[])?;
            overview::overview(shared).await
        }
        ["api", "topics"] => topics::topics(shared, &asked(topics::PARAMETERS)?).await,
        ["api", "topics", name] => {
            asked(&[])?;
            topic::topic(shared, name).await
        }
        ["api", "topics", name, "configs"] => {
            asked(&[])?;
            configs::configs(shared, ConfigResource::topic(name)).await
        }
        ["api", "topics", name, "records"] => records::records(shared, name, &asked(records::PARAMETERS)?).await,
        ["api", "groups"] => {
            asked(&[])?;
            groups::groups(shared).await
        }
        ["api", "groups", id] => {
            asked(&[])?;
            group::group(shared, id).await
        }
        ["api", "groups", id, "lag-time"] => {
            asked(&[])?;
            lag_time::lag_time(shared, id).await
        }
        ["api", "groups", id, "reset"] => reset::reset(shared, id, &asked(reset::PARAMETERS)?).await,
        ["api", "brokers"] => {
            asked(&[])?;
            brokers::brokers(shared).await
        }
        ["api", "brokers", id, "configs"] => {
            asked(&[])?;
            configs::configs(shared, ConfigResource::new(ResourceType::Broker, id)).await
        }
        ["api", "applications"] => {
            asked(&[])?;
            applications::applications(shared).await
        }
        ["api", "applications", name] => {
            asked(&[])?;
            applications::application(shared, name).await
        }
        _ => Err(Problem::missing(format!("there is nothing at {path}"))),
    }
}
