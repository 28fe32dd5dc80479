//! Mistakes that the JVM finds at run time, or never, and that do not compile here: each with the message that the
//! compiler gives. `TRYBUILD=overwrite cargo test -p vltava-streams --test refused` writes the messages anew, for a
//! newer compiler; whoever does so reads them.

#[test]
fn mistakes_are_refused_with_a_message_to_act_on() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
