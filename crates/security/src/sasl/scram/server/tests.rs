//! Both ends against each other, and each against what is hostile.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::sasl::scram::{LONGEST_MESSAGE, ScramClient};
use crate::sasl::server::testing::Known;

type Answer = Result<Vec<u8>, SaslError>;

const USERS: [(&str, &str); 3] = [("alice", "alice-secret"), ("a=b,c", "x"), ("žofie", "příliš žluťoučký")];

/// The users, hashed once.
fn known() -> &'static Known {
    static KNOWN: LazyLock<Known> = LazyLock::new(|| {
        let mut known = Known::default();
        for hash in [Hash::Sha256, Hash::Sha512] {
            for (name, password) in USERS {
                let credential = ScramCredential::of_password(hash, password, b"0123456789abcdef".to_vec(), 4096);
                known.scram.insert((hash, name.to_owned()), credential);
            }
        }
        known
    });
    &KNOWN
}

fn client(hash: Hash, name: &str, password: &str) -> ScramClient {
    ScramClient::new(hash, name.to_owned(), password.into(), "client-nonce".to_owned())
}

fn server(hash: Hash) -> ScramServer {
    ScramServer::new(hash, "server-nonce".to_owned())
}

/// RFC 7677, section 3.
#[test]
fn the_example_of_the_rfc() {
    let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
    let mut client = ScramClient::new(Hash::Sha256, "user".to_owned(), "pencil".into(), nonce);
    assert_eq!(client.first().unwrap(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let server_first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    let proof = client.evaluate(server_first).unwrap().unwrap();
    assert_eq!(
        std::str::from_utf8(&proof).unwrap(),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert_eq!(client.evaluate(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(None));
    assert!(client.is_complete());
}

#[test]
fn both_ends_agree_and_only_on_the_password() {
    for hash in [Hash::Sha256, Hash::Sha512] {
        for (name, password) in USERS {
            let (mut client, mut server) = (client(hash, name, password), server(hash));
            let first = server.evaluate(&client.first().unwrap(), known()).unwrap();
            let proof = client.evaluate(&first).unwrap().unwrap();
            let last = server.evaluate(&proof, known()).unwrap();
            assert_eq!(server.user(), Some(name));
            assert_eq!(client.evaluate(&last), Ok(None));
            assert!(client.is_complete());
            assert_eq!(server.evaluate(&proof, known()), Err(SaslError::IllegalState("COMPLETE")));
            assert_eq!(client.evaluate(&last), Err(SaslError::IllegalState("COMPLETE")));
        }
        let (mut client, mut server) = (client(hash, "alice", "wrong"), server(hash));
        let first = server.evaluate(&client.first().unwrap(), known()).unwrap();
        let proof = client.evaluate(&first).unwrap().unwrap();
        assert_eq!(server.evaluate(&proof, known()), Err(SaslError::Invalid("invalid client credentials")));
        assert_eq!(server.user(), None);
        assert_eq!(server.evaluate(&proof, known()), Err(SaslError::IllegalState("FAILED")));
    }
}

#[test]
fn what_was_recorded_of_one_exchange_does_not_open_another() {
    let mut client = client(Hash::Sha256, "alice", "alice-secret");
    let mut first_server = server(Hash::Sha256);
    let first = client.first().unwrap();
    let asked = first_server.evaluate(&first, known()).unwrap();
    let proof = client.evaluate(&asked).unwrap().unwrap();
    let mut another = ScramServer::new(Hash::Sha256, "another-nonce".to_owned());
    another.evaluate(&first, known()).unwrap();
    let replayed = another.evaluate(&proof, known());
    assert_eq!(replayed, Err(SaslError::Invalid("invalid client nonce in the final client message")));
    // With the right nonce put into it, the proof does not fit.
    let mut another = ScramServer::new(Hash::Sha256, "another-nonce".to_owned());
    another.evaluate(&first, known()).unwrap();
    let forged = String::from_utf8(proof).unwrap().replace("server-nonce", "another-nonce");
    let forged = another.evaluate(forged.as_bytes(), known());
    assert_eq!(forged, Err(SaslError::Invalid("invalid client credentials")));
}

#[test]
fn first_messages_that_are_refused() {
    let invalid = |why| Err(SaslError::Invalid(why));
    let format = || invalid("invalid SCRAM client first message format");
    let refused = |why: &str| Err(SaslError::Refused(why.to_owned()));
    let long = format!("n,,n=alice,r={}", "x".repeat(LONGEST_MESSAGE));
    let cases: [(&[u8], Answer); 12] = [
        (b"", format()),
        (b"\xff\xfe", format()),
        (b"n,,n=alice", format()),
        (b"n,,r=x,n=alice", format()),
        (b"n,,n=,r=x", format()),
        (b"n,,n=al=ice,r=x", format()),
        (b"n,,m=new,n=alice,r=x", format()),
        (b"p=tls-unique,,n=alice,r=x", format()),
        (long.as_bytes(), format()),
        (b"n,,n=nobody,r=x", invalid("invalid user credentials")),
        (b"n,,n=token,r=x,tokenauth=true", refused("delegation tokens (tokenauth=true) are not supported")),
        (
            b"n,a=bob,n=alice,r=x",
            refused("Authentication failed: Client requested an authorization id that is different from username"),
        ),
    ];
    for (message, expected) in cases {
        assert_eq!(server(Hash::Sha256).evaluate(message, known()), expected);
    }
    for fine in ["n,,n=alice,r=x", "n,a=alice,n=alice,r=x", "n,,n=alice,r=x,tokenauth=false,other=1"] {
        assert!(server(Hash::Sha256).evaluate(fine.as_bytes(), known()).is_ok(), "{fine}");
    }
}

#[test]
fn a_credential_of_few_iterations_lets_nobody_in() {
    let mut known = Known::default();
    let weak = ScramCredential::of_password(Hash::Sha256, "p", vec![1], 4095);
    known.scram.insert((Hash::Sha256, "weak".to_owned()), weak);
    assert!(server(Hash::Sha256).evaluate(b"n,,n=weak,r=x", &known).is_err());
}

#[test]
fn last_messages_that_are_refused() {
    for (message, why) in [
        ("", "invalid SCRAM client final message format"),
        ("c=biws,r=client-nonceserver-nonce", "invalid SCRAM client final message format"),
        ("c=biws,r=client-nonceserver-nonce,p=?", "invalid SCRAM client final message format"),
        ("c=biws,r=client-nonce,p=AAAA", "invalid client nonce in the final client message"),
        ("c=eSws,r=client-nonceserver-nonce,p=AAAA", "the channel binding is not that of the first message"),
        ("c=biws,r=client-nonceserver-nonce,p=AAAA", "a proof of a wrong length"),
    ] {
        let mut server = server(Hash::Sha256);
        server.evaluate(b"n,,n=alice,r=client-nonce", known()).unwrap();
        assert_eq!(server.evaluate(message.as_bytes(), known()), Err(SaslError::Invalid(why)), "{message}");
    }
}

#[test]
fn a_client_does_not_trust_whoever_answers() {
    let invalid = |why| Err(SaslError::Invalid(why));
    let format = || invalid("invalid SCRAM server first message format");
    let nonce = || invalid("invalid server nonce: does not start with the client's and go on");
    let iterations = || invalid("the broker asks for fewer than 4096 or more than 1000000 iterations");
    for (message, expected) in [
        ("", format()),
        ("r=client-nonceX,s=c2FsdA==", format()),
        ("r=client-nonceX,s=?,i=4096", format()),
        ("r=client-nonceX,s=c2FsdA==,i=x", format()),
        ("m=x,r=client-nonceX,s=c2FsdA==,i=4096", format()),
        ("r=client-nonce,s=c2FsdA==,i=4096", nonce()),
        ("r=others-nonce,s=c2FsdA==,i=4096", nonce()),
        ("r=client-nonceX,s=c2FsdA==,i=4095", iterations()),
        ("r=client-nonceX,s=c2FsdA==,i=1000001", iterations()),
    ] {
        let mut client = client(Hash::Sha256, "alice", "alice-secret");
        client.first().unwrap();
        assert_eq!(client.evaluate(message.as_bytes()), expected, "{message}");
        assert!(!client.is_complete());
    }
    for (message, expected) in [
        ("v=AAAA", SaslError::Server("invalid server signature".to_owned())),
        ("e=other-error", SaslError::Server("other-error".to_owned())),
        ("", SaslError::Invalid("invalid SCRAM server final message format")),
    ] {
        let mut client = client(Hash::Sha256, "alice", "alice-secret");
        client.first().unwrap();
        client.evaluate(b"r=client-nonceX,s=c2FsdA==,i=4096").unwrap();
        assert_eq!(client.evaluate(message.as_bytes()), Err(expected));
        assert!(!client.is_complete());
    }
}

#[test]
fn nothing_is_shown() {
    let (mut client, mut server) = (client(Hash::Sha256, "alice", "alice-secret"), server(Hash::Sha256));
    let asked = server.evaluate(&client.first().unwrap(), known()).unwrap();
    client.evaluate(&asked).unwrap();
    let shown = format!("{client:?} {server:?}");
    assert!(!shown.contains("secret") && !shown.contains("salt") && !shown.contains('['), "{shown}");
}

proptest! {
    #[test]
    fn nobody_comes_in_by_chance(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..4)) {
        let mut server = server(Hash::Sha256);
        for message in &messages {
            let _ = server.evaluate(message, known());
        }
        prop_assert_eq!(server.user(), None);
    }

    /// One bit of the proof is another.
    #[test]
    fn a_proof_is_whole(at in 0usize..32, bit in 0u8..8) {
        static PROOF: LazyLock<String> = LazyLock::new(|| {
            let (mut client, mut server) = (client(Hash::Sha256, "alice", "alice-secret"), server(Hash::Sha256));
            let asked = server.evaluate(&client.first().unwrap(), known()).unwrap();
            String::from_utf8(client.evaluate(&asked).unwrap().unwrap()).unwrap()
        });
        let mut server = server(Hash::Sha256);
        server.evaluate(b"n,,n=alice,r=client-nonce", known()).unwrap();
        let (head, proof) = PROOF.rsplit_once("p=").unwrap();
        let mut proof = STANDARD.decode(proof).unwrap();
        proof[at] ^= 1 << bit;
        let forged = format!("{head}p={}", STANDARD.encode(proof));
        prop_assert!(server.evaluate(forged.as_bytes(), known()).is_err());
        prop_assert_eq!(server.user(), None);
    }
}
