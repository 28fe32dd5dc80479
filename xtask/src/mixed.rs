//! `cargo xtask mixed`: builds our application, its JVM twin, broker and driver (`interop/rounds`), and runs it.

use std::process::Command;

use anyhow::Result;

use crate::{
    driver::Args,
    shell::{self, output, root},
};

/// Each instance is killed once.
pub(crate) fn short(options: &[&str]) -> Args {
    Args::of(&["--kills", "4"]).and(options)
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(missing) = ["java", "mvn"].into_iter().find(|program| !shell::exists(program)) {
        return shell::skip_or_fail("a group with instances of the JVM", &format!("{missing} is missing"));
    }
    let mut mixed = args.build("mixed", &["vltava-tools", "vltava-rounds", "vltava-bench"])?;
    let class_path = output(&mut Command::new(root().join("interop/peers/streams-jvm/build")))?;
    mixed.args(["--class-path", class_path.trim()]);
    args.run("mixed", mixed)
}
