//! Every dependency is under a licence that an Apache-2.0 project may ship.

use crate::tidy::layers::Metadata;

const ACCEPTED: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "BSL-1.0",
    "0BSD",
    "MIT-0",
    "Unicode-3.0",
    "CC0-1.0",
];

/// One accepted alternative suffices (`OR`, `/`); of a conjunction every part must be accepted.
fn accepted(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    expression.split(" OR ").any(|choice| choice.split(" AND ").all(|part| ACCEPTED.contains(&part.trim())))
}

pub(crate) fn check(metadata: &Metadata, findings: &mut Vec<String>) {
    for package in metadata.foreign() {
        let licence = package.license.as_deref().unwrap_or("none given");
        if !accepted(licence) {
            findings.push(format!("{} {}: licence {licence}", package.name, package.version));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::accepted;

    #[test]
    fn one_accepted_alternative_suffices() {
        assert!(accepted("MIT OR GPL-3.0"));
        assert!(accepted("MIT/Apache-2.0"));
        assert!(accepted("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!accepted("MPL-2.0"));
        assert!(!accepted("MIT AND GPL-3.0"));
    }
}
