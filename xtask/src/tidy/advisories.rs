//! No dependency is older than the version in which a known vulnerability was mended.
//!
//! `xtask/advisories.txt` lists them; a checkout of the RustSec database can be named by
//! `RUSTSEC_DB` to have its `[versions] patched` entries looked at as well.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{shell::root, tidy::layers::Metadata};

/// `CRATE FIXED-VERSION ADVISORY`, a line each.
fn known() -> Result<Vec<(String, Version, String)>> {
    let path = root().join("xtask/advisories.txt");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (name, fixed, id) = (words.next(), words.next().and_then(Version::parse), words.next());
            let (Some(name), Some(fixed), Some(id)) = (name, fixed, id) else {
                anyhow::bail!("advisories.txt: cannot read {line:?}");
            };
            Ok((name.to_owned(), fixed, id.to_owned()))
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u64, u64, u64);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let core = text.split(['-', '+']).next()?;
        let mut parts = core.split('.').map(|part| part.parse().ok());
        Some(Version(parts.next()??, parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?))
    }
}

pub(crate) fn check(metadata: &Metadata, findings: &mut Vec<String>) -> Result<()> {
    let known = known()?;
    let database = std::env::var_os("RUSTSEC_DB");
    for package in metadata.foreign() {
        let Some(version) = Version::parse(&package.version) else { continue };
        for (_, fixed, id) in known.iter().filter(|(name, fixed, _)| *name == package.name && version < *fixed) {
            findings.push(format!("{} {}: {id}, mended in {fixed:?}", package.name, package.version));
        }
        if let Some(database) = &database {
            in_database(&Path::new(database).join("crates").join(&package.name), &package.name, version, findings)?;
        }
    }
    Ok(())
}

/// Reads the advisories of one crate: a version is safe when one of the patched requirements takes it.
fn in_database(folder: &Path, name: &str, version: Version, findings: &mut Vec<String>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        if text.contains("\ninformational =") || text.contains("\nwithdrawn =") {
            continue;
        }
        let patched = text.lines().find_map(|line| line.trim().strip_prefix("patched = "));
        let safe = patched.is_some_and(|list| requirements(list).any(|requirement| matches(requirement, version)));
        if !safe {
            findings.push(format!("{name} {version:?}: {}", path.display()));
        }
    }
    Ok(())
}

fn requirements(list: &str) -> impl Iterator<Item = &str> {
    list.split('"').skip(1).step_by(2)
}

/// `>= 1.2.3`, `^1.2.3` and conjunctions with commas, as the database writes them.
fn matches(requirement: &str, version: Version) -> bool {
    requirement.split(',').all(|part| {
        let part = part.trim();
        let bound = Version::parse(part.trim_start_matches(['>', '=', '<', '^', '~', ' ']));
        bound.is_some_and(|bound| match part.chars().next() {
            Some('^') => version >= bound && version.0 == bound.0 && (bound.0 > 0 || version.1 == bound.1),
            Some('~') => version >= bound && (version.0, version.1) == (bound.0, bound.1),
            Some('<') if part.starts_with("<=") => version <= bound,
            Some('<') => version < bound,
            Some('>') if !part.starts_with(">=") => version > bound,
            _ => version >= bound,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{Version, matches};

    #[test]
    fn requirements_of_the_database_are_understood() {
        let version = Version(1, 4, 2);
        assert!(matches(">= 1.4.2", version));
        assert!(!matches("> 1.4.2", version));
        assert!(matches("^1.2", version));
        assert!(!matches("^0.9", version));
        assert!(matches(">= 1.0, < 2.0", version));
    }
}
