//! Our applications on our broker and on Apache Kafka: the same answers as a plain program's.

use std::{collections::BTreeMap, fmt::Write, fs, process::Command};

use anyhow::{Result, ensure};

use super::{Check, brokers::Both};
use crate::{
    programs,
    shell::{output_with_input, root},
};

pub(super) const CHECKS: &[Check] = &[("word count on both brokers", word_count)];

/// Counts as the example defines a word: a maximal run of alphanumeric characters, lower-cased.
fn plain_counts(text: &str) -> String {
    let mut counts = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_insert(0u64) += 1;
    }
    counts.iter().fold(String::new(), |mut out, (word, count)| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{word}\t{count}");
        out
    })
}

fn word_count(both: &Both) -> Result<()> {
    let want = plain_counts(&fs::read_to_string(root().join("examples/data/moby-dick.txt"))?);
    let folder = std::env::temp_dir().join(format!("vltava-word-count-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut targets = vec![("the embedded broker", None)];
    targets.extend(both.each().map(|(name, bootstrap)| (name, Some(bootstrap))));
    for (name, bootstrap) in targets {
        let counts = folder.join("counts.tsv");
        let mut command = Command::new(programs::built("examples/word_count"));
        command.arg("--counts").arg(&counts).current_dir(root());
        if let Some(bootstrap) = bootstrap {
            command.args(["--bootstrap-server", bootstrap]);
        }
        output_with_input(&mut command, "")?;
        ensure!(fs::read_to_string(&counts)? == want, "the counts on {name} differ from a plain program's");
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}
