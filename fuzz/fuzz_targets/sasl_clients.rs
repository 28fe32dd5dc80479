//! The client's end of a mechanism: the first byte chooses it, the rest are the broker's answers, each behind its length. A
//! broker that does not know the password is not believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vltava_security::sasl::oauthbearer::OAuthBearerClient;
use vltava_security::sasl::scram::{Hash, ScramClient};
use vltava_security::sasl::{PlainClient, SaslClient};

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let scram = |hash| ScramClient::new(hash, "a,b=c".to_owned(), "secret".into(), "nonce".to_owned());
    let mut client = match choice % 4 {
        0 => SaslClient::Plain(PlainClient::new("a".to_owned(), "secret".into())),
        1 => SaslClient::Scram(scram(Hash::Sha256)),
        2 => SaslClient::Scram(scram(Hash::Sha512)),
        _ => SaslClient::OAuthBearer(OAuthBearerClient::new("a.b.c".into(), Default::default())),
    };
    client.first().expect("it begins once");
    let mut rest = data;
    while let Some((length, more)) = rest.split_first() {
        let (message, more) = more.split_at(usize::from(*length).min(more.len()));
        rest = more;
        if client.evaluate(message).is_err() {
            assert!(!client.is_complete());
            return;
        }
        assert!(!client.is_complete() || !matches!(client, SaslClient::Scram(_)), "nobody has shown that he knows");
        if client.is_complete() {
            assert!(message.is_empty() && client.evaluate(message).is_err());
            return;
        }
    }
});
