//! Reads case files, packed or plain.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use regex_lite::Regex;
use serde_json::Value as Json;

/// One line of a case file.
pub struct Case {
    /// `file/case name`.
    pub id: String,
    pub spec: Json,
}

/// All cases whose id matches every filter, in the order of files and lines.
pub fn load(filters: &[String]) -> Vec<Case> {
    let filters: Vec<_> = filters.iter().map(|filter| Regex::new(filter).unwrap()).collect();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/cases");
    let directory = std::env::var_os("ORACLE_CASES").map_or(packed, PathBuf::from);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some((stem, text)) = read(&path, &name) else { continue };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let spec: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}"));
            let id = format!("{stem}/{}", spec["name"].as_str().unwrap());
            if filters.iter().all(|filter| filter.is_match(&id)) {
                cases.push(Case { id, spec });
            }
        }
    }
    cases
}

fn read<'a>(path: &Path, name: &'a str) -> Option<(&'a str, String)> {
    let mut text = String::new();
    if let Some(stem) = name.strip_suffix(".jsonl.gz") {
        GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        return Some((stem, text));
    }
    let stem = name.strip_suffix(".jsonl")?;
    fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    Some((stem, text))
}
