//! Texts of `sasl.jaas.config`: whatever they are, what is said about their form shows no secret in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vltava_security::sasl::{
    BrokerOAuthOptions, ClientLogin, JaasConfig, Mechanism, PlainUsers, check_scram_of_broker,
};

const SECRET: &str = "Tell-Nobody-7";

fuzz_target!(|text: &str| {
    // Somewhere in it there is a secret in quotes.
    let text = text.replace('#', &format!("\"{SECRET}\""));
    let wrong = JaasConfig::parse(&text).err().map(|error| error.to_string());
    assert!(!wrong.as_ref().is_some_and(|wrong| wrong.contains(SECRET)), "{wrong:?}");
    let mut errors = vec![wrong];
    for mechanism in Mechanism::ALL {
        errors.push(ClientLogin::parse(mechanism, &text).err().map(|error| error.to_string()));
        errors.push(check_scram_of_broker(mechanism, &text).err().map(|error| error.to_string()));
    }
    errors.push(PlainUsers::parse(&text).err().map(|error| error.to_string()));
    errors.push(BrokerOAuthOptions::parse(&text).err().map(|error| error.to_string()));
    for error in errors.into_iter().flatten() {
        assert!(error.len() <= text.len() + 500);
    }
});
