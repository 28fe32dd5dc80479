//! Transactions against any broker, step by step, each held against what Kafka promises: `transactions BOOTSTRAP [SCENARIO…]`.
//!
//! `cargo xtask interop` runs it against Apache Kafka. Without names all scenarios run, each with topics,
//! groups and transactional ids of its own. The broker has to look for transactions that are too old every half second
//! (`transaction.abort.timed.out.transaction.cleanup.interval.ms=500`).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "it fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its result")]

mod ends;
mod fencing;
mod interleaved;
mod offsets;
mod setup;

use std::process::ExitCode;

use setup::Setup;

macro_rules! scenarios {
    ($($module:ident::$name:ident,)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        async fn run(name: &str, setup: &Setup) {
            match name {
                $(stringify!($name) => $module::$name(setup).await,)*
                _ => panic!("there is no scenario {name}, but {NAMES:?}"),
            }
        }
    };
}

scenarios! {
    ends::a_commit_shows_everything_and_an_abort_nothing,
    ends::a_transaction_that_is_dropped_is_aborted,
    ends::calls_in_the_wrong_state_are_refused,
    ends::an_end_without_records_costs_nothing,
    ends::a_cancelled_commit_is_told_when_it_is_called_again,
    ends::a_record_that_is_refused_fails_its_transaction,
    ends::closing_aborts,
    offsets::offsets_count_with_the_commit_only,
    offsets::a_lost_member_is_refused_and_the_producer_goes_on,
    fencing::a_successor_fences_and_ends_what_was_open,
    fencing::a_transaction_that_is_too_old_is_aborted,
    interleaved::readers_of_committed_records_see_whole_transactions,
    interleaved::a_compacted_topic_keeps_its_transactions_apart,
    interleaved::a_reader_gets_past_what_was_aborted,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(bootstrap) = arguments.next() else {
        eprintln!("usage: transactions BOOTSTRAP [SCENARIO…]");
        return ExitCode::FAILURE;
    };
    let names: Vec<String> = arguments.collect();
    let all = || NAMES.iter().map(|name| (*name).to_owned()).collect();
    for name in if names.is_empty() { all() } else { names } {
        let setup = Setup::new(&bootstrap, &name).await;
        run(&name, &setup).await;
        println!("ok {name}");
    }
    ExitCode::SUCCESS
}
