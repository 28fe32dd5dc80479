use super::command_line::{OPTIONS, check};
use crate::options::Options;

fn refusal(line: &str) -> Option<String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let refused = Options::parse(OPTIONS, &words).and_then(|options| check(&options));
    refused.err().map(|failure| failure.message().to_owned())
}

#[test]
fn there_is_one_action() {
    let actions = "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, \
        --delete-offsets, --validate-regex";
    assert_eq!(refusal("--bootstrap-server b").as_deref(), Some(actions));
    assert_eq!(refusal("--bootstrap-server b --describe --delete --group g").as_deref(), Some(actions));
    assert_eq!(refusal("--list").as_deref(), Some("Missing required argument \"[bootstrap-server]\""));
}

#[test]
fn what_does_not_go_together_is_refused_in_kafkas_words() {
    let cases = [
        ("--list --group g", "Option \"[group]\" can't be used with option \"[list]\""),
        ("--describe", "Option [describe] takes one of these options: [group], [all-groups]"),
        ("--describe --group g --all-groups", "Option \"[group]\" can't be used with option \"[all-groups]\""),
        ("--describe --group g --state stable", "Option [describe] does not take a value for [state]"),
        ("--describe --group g --topic t", "Option \"[topic]\" can't be used with option \"[describe]\""),
        (
            "--delete --group g --topic t",
            "The consumer does not support topic-specific offset deletion from a consumer group.",
        ),
        ("--delete-offsets --group g", "Option [delete-offsets] takes the following options: [group], [topic]"),
        (
            "--reset-offsets --group g --dry-run --execute",
            "Option [reset-offsets] only accepts one of [execute] and [dry-run]",
        ),
        (
            "--reset-offsets --group g --dry-run --to-earliest --shift-by 1",
            "Option \"[shift-by]\" can't be used with option \"[to-earliest]\"",
        ),
        ("--reset-offsets --group g --shift-by x", "Cannot parse argument 'x' of option shift-by"),
    ];
    for (line, expected) in cases {
        assert_eq!(refusal(&format!("--bootstrap-server b {line}")).as_deref(), Some(expected), "{line}");
    }
}

#[test]
fn what_goes_together_is_taken() {
    for line in [
        "--list --state --type classic",
        "--describe --all-groups --members --verbose",
        "--reset-offsets --group a --group b --all-topics --to-current --dry-run --export",
        "--reset-offsets --all-groups --topic t:0,1 --topic u --shift-by -3 --execute",
        "--delete-offsets --group g --topic t",
    ] {
        assert_eq!(refusal(&format!("--bootstrap-server b {line}")), None, "{line}");
    }
}
