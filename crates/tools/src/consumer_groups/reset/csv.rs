//! Offsets as CSV, as `--export` writes and `--from-file` reads them: `[group,]topic,partition,offset`.

use vltava_client::TopicPartition;

use super::Offsets;
use crate::failure::Failure;

/// The rows of all groups; a group's name is left out where there is only one.
pub(crate) fn export(resets: &[(String, Offsets)], one_group: bool) -> String {
    let mut text = String::new();
    for (group, offsets) in resets {
        for (partition, offset) in offsets {
            if !one_group {
                text.push_str(&cell(group));
                text.push(',');
            }
            text.push_str(&format!("{},{},{offset}\n", cell(partition.topic()), partition.partition()));
        }
    }
    text
}

/// A text, in quotes where Kafka's writer has them: around what it would have to look at for long, and around signs that
/// are or come before those with a meaning.
fn cell(text: &str) -> String {
    const LOOKED_AT: usize = 24;
    if text.encode_utf16().count() > LOOKED_AT || text.chars().any(|c| c <= ',') {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

/// The offsets of a file by group, groups in order of their first line.
pub(super) fn read_plan(path: &str, groups: &[String]) -> Result<Vec<(String, Offsets)>, Failure> {
    let unreadable = |_| Failure::Message(format!("java.io.IOException: Unable to read file {path}"));
    let text = std::fs::read(path).map_err(unreadable)?;
    parse_plan(&String::from_utf8_lossy(&text), groups)
}

fn parse_plan(text: &str, groups: &[String]) -> Result<Vec<(String, Offsets)>, Failure> {
    let lines: Vec<&str> = text.trim_end_matches('\n').split('\n').collect();
    let without_group = |line: &str| fields(line, 3).and_then(|fields| row("", &fields));
    let old_format = lines.first().is_some_and(|line| without_group(line).is_ok());
    let mut plan: Vec<(String, Offsets)> = Vec::new();
    for line in lines {
        let (group, partition, offset) = match groups {
            [group] if old_format => fields(line, 3).and_then(|fields| row(group, &fields)),
            _ => fields(line, 4).and_then(|fields| match fields.split_first() {
                Some((group, rest)) => row(group, rest),
                None => row("", &[]),
            }),
        }
        .map_err(Failure::Message)?;
        let index = plan.iter().position(|(planned, _)| *planned == group).unwrap_or_else(|| {
            plan.push((group, Offsets::new()));
            plan.len() - 1
        });
        if let Some((_, offsets)) = plan.get_mut(index) {
            offsets.retain(|(planned, _)| *planned != partition);
            offsets.push((partition, offset));
        }
    }
    Ok(plan)
}

/// Topic, partition and offset; what is left out is 0.
fn row(group: &str, fields: &[String]) -> Result<(String, TopicPartition, i64), String> {
    let number = |index: usize, kind: &str, least: i64, most: i64| {
        let text = fields.get(index).map_or("0", |field| field.trim());
        let number = text.parse::<i64>().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| {
            let class = "com.fasterxml.jackson.databind.exc.InvalidFormatException";
            format!(
                "{class}: Cannot deserialize value of type `{kind}` from String \"{text}\": not a valid `{kind}` value"
            )
        })
    };
    let partition = number(1, "int", i64::from(i32::MIN), i64::from(i32::MAX))?;
    let partition = i32::try_from(partition).unwrap_or_default();
    let topic = fields.first().map_or("", String::as_str);
    Ok((group.to_owned(), TopicPartition::new(topic, partition), number(2, "long", i64::MIN, i64::MAX)?))
}

/// The fields of a line, at most so many.
fn fields(line: &str, most: usize) -> Result<Vec<String>, String> {
    let line = line.trim_end_matches('\r');
    if line.is_empty() {
        let class = "com.fasterxml.jackson.databind.exc.MismatchedInputException";
        return Err(format!("{class}: No content to map due to end-of-input"));
    }
    let mut fields = vec![String::new()];
    let (mut quoted, mut chars) = (false, line.chars().peekable());
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    match fields.get(most) {
        Some(more) => {
            let class = "com.fasterxml.jackson.dataformat.csv.CsvReadException";
            let length = more.chars().count();
            Err(format!(
                "{class}: Too many entries: expected at most {most} (value #{most} ({length} chars) \"{more}\")"
            ))
        }
        None => Ok(fields),
    }
}

#[cfg(test)]
mod tests {
    use vltava_client::TopicPartition;

    use super::{export, parse_plan};

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let long = "a-name-of-more-than-24-characters";
        let one = vec![(TopicPartition::new("t", 0), 5), (TopicPartition::new(long, 12), 0)];
        let resets = [("a".to_owned(), one.clone()), ("b, \"c\"".to_owned(), vec![(TopicPartition::new("t", 1), -1)])];
        let text = export(&resets, false);
        assert_eq!(text, format!("a,t,0,5\na,\"{long}\",12,0\n\"b, \"\"c\"\"\",t,1,-1\n"));
        assert_eq!(parse_plan(&text, &[]).unwrap(), resets);
        let text = export(&resets[..1], true);
        assert_eq!(text, format!("t,0,5\n\"{long}\",12,0\n"));
        assert_eq!(parse_plan(&text, &["g".to_owned()]).unwrap(), [("g".to_owned(), one)]);
    }

    #[test]
    fn one_group_may_be_named_in_the_file_too() {
        let plan = parse_plan("g,t,0,5\n", &["g".to_owned()]).unwrap();
        assert_eq!(plan, [("g".to_owned(), vec![(TopicPartition::new("t", 0), 5)])]);
    }

    #[test]
    fn a_later_line_wins() {
        let plan = parse_plan("t,0,5\nt,0,7\n", &["g".to_owned()]).unwrap();
        assert_eq!(plan, [("g".to_owned(), vec![(TopicPartition::new("t", 0), 7)])]);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["t,0,1\nt,x,5", "t,0,1\nt,4294967296,0", "g,t,0,x", "", "t,0,1\n\nt,1,1", "a,b,0,1,2"] {
            assert!(parse_plan(text, &["g".to_owned()]).is_err(), "{text:?}");
        }
        // The first line may be that of a group and its topic.
        assert_eq!(parse_plan("t,x,5", &["g".to_owned()]).unwrap().first().unwrap().0, "t");
    }
}
