//! Dependencies between the crates point one way only.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use crate::shell::{cargo, output};

/// The part of `cargo metadata` that the checks read.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    name: String,
    /// `dev`, `build`, or absent for a normal one.
    kind: Option<String>,
}

impl Metadata {
    pub(crate) fn read() -> Result<Self> {
        let text = output(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
        Ok(serde_json::from_str(&text)?)
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The packages that are not ours.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| !self.workspace_members.contains(&package.id))
    }
}

/// What each crate may depend on among ours; ARCHITECTURE.md draws it. Tests may look upwards.
const LAYERS: [(&str, &[&str]); 18] = [
    ("vltava-metrics", &[]),
    ("vltava-config", &[]),
    ("vltava-protocol", &[]),
    ("vltava-serde", &["vltava-config"]),
    ("vltava-security", &["vltava-config"]),
    ("vltava-log", &["vltava-config", "vltava-protocol"]),
    ("vltava-client", &["vltava-config", "vltava-protocol", "vltava-serde", "vltava-security", "vltava-metrics"]),
    ("vltava-broker", &["vltava-config", "vltava-protocol", "vltava-log", "vltava-security", "vltava-metrics"]),
    ("vltava-streams", &["vltava-config", "vltava-protocol", "vltava-serde", "vltava-client", "vltava-metrics"]),
    ("vltava-schema", &["vltava-config", "vltava-serde"]),
    ("vltava-console", &["vltava-client"]),
    (
        "vltava",
        &["vltava-serde", "vltava-metrics", "vltava-client", "vltava-broker", "vltava-streams", "vltava-schema"],
    ),
    (
        "vltava-tools",
        &["vltava-config", "vltava-protocol", "vltava-log", "vltava-client", "vltava-broker", "vltava-console"],
    ),
    ("vltava-examples", &["vltava"]),
    ("vltava-example-service", &["vltava"]),
    ("vltava-bench", &["vltava", "vltava-client", "vltava-config", "vltava-protocol"]),
    ("vltava-rounds", &["vltava", "vltava-protocol"]),
    ("xtask", &[]),
];

pub(crate) fn check(metadata: &Metadata, findings: &mut Vec<String>) {
    let layers: BTreeMap<_, _> = LAYERS.into_iter().collect();
    for member in metadata.members() {
        let Some(allowed) = layers.get(member.name.as_str()) else {
            findings.push(format!("{}: a crate without a layer in xtask/src/tidy/layers.rs", member.name));
            continue;
        };
        let ours = member.dependencies.iter().filter(|d| d.kind.is_none() && layers.contains_key(d.name.as_str()));
        for dependency in ours.filter(|d| !allowed.contains(&d.name.as_str())) {
            findings.push(format!("{} depends on {}: not an arrow of ARCHITECTURE.md", member.name, dependency.name));
        }
    }
}
