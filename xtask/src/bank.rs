//! `cargo xtask bank`: builds the clients of the bank (`interop/bank`), broker and driver, and runs it.

use anyhow::Result;

use crate::{driver::Args, foreign};

/// A few kills, always the same ones.
pub(crate) fn short() -> Args {
    Args::of(&["--seed", "1", "--rounds", "20"])
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut bank = args.build("bank", &["vltava-tools", "vltava-rounds"])?;
    let clients = [
        ("--java-libs", foreign::java_libs()?),
        ("--python", foreign::python()?),
        ("--franz-go", foreign::go("bank/franz-go")?),
    ];
    for (option, program) in clients {
        if let Some(program) = program {
            bank.arg(option).arg(program);
        }
    }
    args.run("bank", bank)
}
