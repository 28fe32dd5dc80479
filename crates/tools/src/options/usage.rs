//! The table of a tool's options, as its usage shows it.

use std::fmt::Write as _;

use super::{Argument, COMMON, OptionSpec};

/// Where the descriptions begin.
const DESCRIPTION_COLUMN: usize = 40;
/// How long a line may be.
const LINE: usize = 100;

/// The options of a tool in order of their names, with what they do.
pub(crate) fn usage(table: &[OptionSpec]) -> String {
    let mut specs: Vec<&OptionSpec> = COMMON.iter().chain(table).filter(|spec| spec.acted_on).collect();
    specs.sort_by_key(|spec| spec.name);
    let mut text = String::new();
    row(&mut text, "Option", "Description");
    row(&mut text, "------", "-----------");
    for spec in specs {
        let option = match spec.argument {
            Argument::None => format!("--{}", spec.name),
            Argument::Required(what) => format!("--{} <{what}>", spec.name),
            Argument::Optional(what) => format!("--{} [{what}]", spec.name),
            Argument::Several(what) => format!("--{} <{what}> ...", spec.name),
        };
        match spec.default {
            Some(default) => row(&mut text, &option, &format!("{} (default: {default})", spec.help)),
            None => row(&mut text, &option, spec.help),
        }
    }
    text
}

/// One option; the description goes on in lines of its own when it is long.
fn row(text: &mut String, option: &str, description: &str) {
    let mut line = format!("{option:<DESCRIPTION_COLUMN$}");
    if line.len() > DESCRIPTION_COLUMN {
        // Writing into a string cannot fail.
        writeln!(text, "{option}").ok();
        line = " ".repeat(DESCRIPTION_COLUMN);
    }
    for word in description.split(' ') {
        if line.len() + word.len() >= LINE {
            writeln!(text, "{}", line.trim_end()).ok();
            line = " ".repeat(DESCRIPTION_COLUMN);
        }
        line.push_str(word);
        line.push(' ');
    }
    writeln!(text, "{}", line.trim_end()).ok();
}
