//! Where the jars come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{FAMILIES, KAFKA_VERSION, zip};

/// Whether Maven may ask its repositories.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    Allowed,
    /// What Maven has fetched before is used, and nothing else.
    Avoided,
}

/// Returns the directory of the jars: the given one, one filled earlier, or one that Maven fills now.
/// `None` when there is no Maven, or when it would need the network and must not.
pub(super) fn find(given: Option<&Path>, root: &Path, network: Network) -> Result<Option<PathBuf>> {
    if let Some(dir) = given {
        return Ok(Some(dir.to_path_buf()));
    }
    let dir = root.join("target").join(format!("kafka-{KAFKA_VERSION}-jars"));
    if is_complete(&dir) {
        return Ok(Some(dir));
    }
    if !has_maven() {
        return Ok(None);
    }
    match (fetch(&dir, network), network) {
        (Ok(()), _) => Ok(Some(dir)),
        (Err(_), Network::Avoided) => Ok(None),
        (Err(error), Network::Allowed) => Err(error),
    }
}

fn is_complete(dir: &Path) -> bool {
    FAMILIES.iter().all(|family| dir.join(format!("{}-{KAFKA_VERSION}.jar", family.artifact)).is_file())
}

fn has_maven() -> bool {
    let version = Command::new("mvn").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Lets Maven copy the jars, from its cache or from the repositories it is configured with.
fn fetch(dir: &Path, network: Network) -> Result<()> {
    fs::create_dir_all(dir)?;
    let pom = dir.join("pom.xml");
    fs::write(&pom, pom_text())?;
    let status = Command::new("mvn")
        .args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "-DexcludeTransitive=true"])
        .arg(format!("-DoutputDirectory={}", dir.display()))
        .arg("--file")
        .arg(&pom)
        .args((network == Network::Avoided).then_some("--offline"))
        .stdout(Stdio::null())
        .status()
        .context("mvn")?;
    if !status.success() || !is_complete(dir) {
        bail!("Maven could not fetch the jars of Apache Kafka {KAFKA_VERSION}");
    }
    Ok(())
}

fn pom_text() -> String {
    let mut dependencies = String::new();
    for family in &FAMILIES {
        let artifact = family.artifact;
        dependencies.push_str(&format!(
            "<dependency><groupId>org.apache.kafka</groupId><artifactId>{artifact}</artifactId>\
             <version>{KAFKA_VERSION}</version></dependency>\n"
        ));
    }
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>codegen</groupId><artifactId>codegen</artifactId>\
         <version>1</version><packaging>pom</packaging>\n<dependencies>\n{dependencies}</dependencies></project>\n"
    )
}

/// Returns the message specifications of a jar, as file names and texts.
pub(super) fn specifications(jar: &Path) -> Result<Vec<(String, String)>> {
    let archive = fs::read(jar).with_context(|| jar.display().to_string())?;
    let is_specification = |name: &str| name.starts_with("common/") && name.ends_with(".json");
    let mut specifications = Vec::new();
    for (name, content) in zip::entries(&archive, is_specification)? {
        specifications.push((name, String::from_utf8(content)?));
    }
    if specifications.is_empty() {
        bail!("{} has no message specifications", jar.display());
    }
    Ok(specifications)
}
