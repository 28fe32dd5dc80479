//! Metrics as Prometheus' text (version 0.0.4), read.

use std::collections::BTreeMap;

/// One value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All samples of a text; a line that is none says which.
pub(crate) fn parse(text: &str) -> Result<Vec<Sample>, String> {
    let mut samples = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        samples.push(sample(line).ok_or_else(|| format!("line {} is no metric of Prometheus", number + 1))?);
    }
    Ok(samples)
}

/// `name{label="value",…} value timestamp`, of which labels and timestamp may be missing.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':')))?;
    let (name, mut rest) = line.split_at_checked(end)?;
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner.trim_start();
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once('=')?;
            let (value, after) = quoted(after.trim_start())?;
            labels.insert(label.trim().to_owned(), value);
            let after = after.trim_start();
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
    }
    let value = match rest.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    (!name.is_empty()).then(|| Sample { name: name.to_owned(), labels, value })
}

/// The text in quotation marks that a rest begins with, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_names_labels_and_values() {
        let text = "# HELP a words\n# TYPE a gauge\na 1\n\nb{x=\"1,}\\\"\\\\\\n\" , y=\"\",} 2.5e1 1700000000\nc{} NaN\nd:e -Inf\n";
        let samples = parse(text).unwrap();
        let of = |at: usize| (samples[at].name.as_str(), samples[at].value);
        assert_eq!((of(0), of(1), of(3)), (("a", 1.0), ("b", 25.0), ("d:e", f64::NEG_INFINITY)));
        assert_eq!((samples[1].label("x"), samples[1].label("y"), samples[1].label("z")), ("1,}\"\\\n", "", ""));
        assert!(samples[2].value.is_nan() && samples.len() == 4);
    }

    #[test]
    fn what_is_no_metric_is_told_by_its_line() {
        for wrong in ["<html>", "a", "a{x} 1", "a{x=1} 1", "a{x=\"1} 1", "a{x=\"1\"", "{} 1", "a x"] {
            assert_eq!(parse(&format!("a 1\n{wrong}")).unwrap_err(), "line 2 is no metric of Prometheus", "{wrong}");
        }
    }
}
