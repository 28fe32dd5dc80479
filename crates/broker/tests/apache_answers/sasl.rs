//! Users of SCRAM, and how connections say who they are.

use bytes::Bytes;
use vltava_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use vltava_protocol::messages::describe_user_scram_credentials_request::UserName;
use vltava_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, DescribeUserScramCredentialsRequest, MetadataRequest,
    SaslAuthenticateRequest, SaslHandshakeRequest,
};
use vltava_security::sasl::scram::{Hash, ScramClient};

use crate::transcript::Session;

const HASH: [u8; 32] = [7; 32];

fn upsert(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion {
        name: name.to_owned(),
        mechanism,
        iterations,
        salt: Bytes::from_static(b"salt of the test"),
        salted_password: Bytes::from_static(&HASH),
        ..Default::default()
    }
}

fn delete(name: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion { name: name.to_owned(), mechanism, ..Default::default() }
}

fn alter(
    deletions: &[ScramCredentialDeletion],
    upsertions: &[ScramCredentialUpsertion],
) -> AlterUserScramCredentialsRequest {
    AlterUserScramCredentialsRequest {
        deletions: deletions.to_vec(),
        upsertions: upsertions.to_vec(),
        ..Default::default()
    }
}

fn describe(users: Option<&[&str]>) -> DescribeUserScramCredentialsRequest {
    let name = |name: &&str| UserName { name: (*name).to_owned(), ..Default::default() };
    let users = users.map(|users| users.iter().map(name).collect());
    DescribeUserScramCredentialsRequest { users, ..Default::default() }
}

/// Who is told, and of each the mechanisms in their order: Kafka's is that of a map, another in each run.
fn tell(s: &mut Session, what: &str, users: Option<&[&str]>) {
    s.call_then(what, 0, &describe(users), |response| {
        for result in &mut response.results {
            result.credential_infos.sort_by_key(|info| info.mechanism);
        }
    });
}

pub(crate) fn users(s: &mut Session) {
    // One to record from may have them of an earlier run.
    for name in ["alice", "bob", "carol"] {
        for mechanism in [1, 2] {
            s.quietly(0, &alter(&[delete(name, mechanism)], &[]));
        }
    }
    tell(s, "nobody is there", None);
    tell(s, "those that are not there", Some(&["alice", "bob", "alice"]));
    s.call("nothing", 0, &alter(&[], &[]));
    let three = [upsert("carol", 1, 4096), upsert("alice", 2, 16_384), upsert("bob", 1, 8192)];
    s.call("three are added", 0, &alter(&[], &three));
    s.call("one has a second mechanism", 0, &alter(&[], &[upsert("alice", 1, 4096)]));
    tell(s, "all are told", None);
    tell(s, "none named is all", Some(&[]));
    tell(s, "some are told", Some(&["bob", "nobody", "alice", "bob", "dave"]));
    let wrong = [
        upsert("few", 1, 4095),
        upsert("many", 1, 16_385),
        upsert("negative", 1, -1),
        upsert("", 1, 4096),
        upsert("unknown", 0, 4096),
        upsert("unheard", 3, 4096),
        upsert("twice", 1, 4096),
        upsert("twice", 2, 4096),
    ];
    s.call("what is wrong with new ones", 0, &alter(&[], &wrong));
    let deletions = [delete("nobody", 1), delete("", 1), delete("bob", 3), delete("bob", 2), delete("carol", 2)];
    s.call("what is wrong with deletions", 0, &alter(&deletions, &[]));
    s.call("twice in both", 0, &alter(&[delete("carol", 1)], &[upsert("carol", 1, 5000), upsert("alice", 1, 5000)]));
    s.call("gone", 0, &alter(&[delete("carol", 1), delete("alice", 2), delete("bob", 1)], &[upsert("new", 1, 4096)]));
    tell(s, "who is left", None);
    s.quietly(0, &alter(&[delete("alice", 1), delete("new", 1)], &[]));
}

fn handshake(mechanism: &str) -> SaslHandshakeRequest {
    SaslHandshakeRequest { mechanism: mechanism.to_owned() }
}

fn message(bytes: &[u8]) -> SaslAuthenticateRequest {
    SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(bytes), ..Default::default() }
}

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    }
}

pub(crate) fn on_plaintext(s: &mut Session) {
    for version in [0, 1] {
        s.call("a handshake", version, &handshake("PLAIN"));
    }
    for version in [0, 1, 2] {
        s.call("a message", version, &message(b"\0alice\0alice-secret"));
    }
}

pub(crate) fn conversations(s: &mut Session) {
    s.about("PLAIN");
    s.quietly(3, &versions());
    s.call("handshake", 1, &handshake("PLAIN"));
    s.call("message", 1, &message(b"\0alice\0alice-secret"));
    s.call("another message at once", 2, &message(b"\0alice\0alice-secret"));
    for (what, bytes) in [
        ("a wrong password", &b"\0alice\0wrong"[..]),
        ("an unknown user", b"\0bob\0alice-secret"),
        ("no user", b"\0\0alice-secret"),
        ("no password", b"\0alice\0"),
        ("two tokens", b"\0alice"),
        ("four tokens", b"\0alice\0alice-secret\0"),
        ("another to act as", b"bob\0alice\0alice-secret"),
        ("no text", b"\0\xff\xfe\0alice-secret"),
    ] {
        s.reconnect(what);
        s.quietly(1, &handshake("PLAIN"));
        s.call(what, 2, &message(bytes));
        s.call("and then", 12, &MetadataRequest::default());
    }
    s.reconnect("as itself");
    s.quietly(1, &handshake("PLAIN"));
    s.call("as itself", 0, &message(b"alice\0alice\0alice-secret"));

    s.about("mechanisms that are not there");
    for mechanism in ["OAUTHBEARER", "GSSAPI", "plain", ""] {
        s.reconnect(mechanism);
        s.call(mechanism, 1, &handshake(mechanism));
        s.call("and then", 1, &handshake("PLAIN"));
    }

    s.about("out of order");
    s.reconnect("a request first");
    s.call("a request first", 12, &MetadataRequest::default());
    s.reconnect("a message first");
    s.call("a message first", 2, &message(b"\0alice\0alice-secret"));
    s.reconnect("versions twice");
    s.quietly(3, &versions());
    s.call_then("versions twice", 3, &versions(), |response| response.api_keys.clear());
    s.reconnect("a handshake in between");
    s.quietly(1, &handshake("PLAIN"));
    s.call("a handshake in between", 1, &handshake("PLAIN"));
    s.reconnect("versions in between");
    s.quietly(1, &handshake("PLAIN"));
    s.call_then("versions in between", 3, &versions(), |response| response.api_keys.clear());

    s.about("before KIP-152");
    s.reconnect("a bare frame");
    s.call("handshake", 0, &handshake("PLAIN"));
    s.frame("a bare frame", b"\0alice\0alice-secret");
    s.reconnect("a wrong bare frame");
    s.quietly(0, &handshake("PLAIN"));
    s.frame("a wrong bare frame", b"\0alice\0wrong");

    s.about("SCRAM");
    s.reconnect("an administrator");
    s.quietly(1, &handshake("PLAIN"));
    s.quietly(2, &message(b"\0admin\0admin-secret"));
    let salt = b"salt of the test".to_vec();
    let salted = Hash::Sha256.salted_password(b"carol-secret", &salt, 4096);
    let carol = ScramCredentialUpsertion {
        salted_password: Bytes::copy_from_slice(salted.expose()),
        ..upsert("carol", 1, 4096)
    };
    s.call("a user", 0, &alter(&[], &[carol]));
    let client = |name: &str, password: &str| {
        ScramClient::new(Hash::Sha256, name.to_owned(), password.into(), "nonce-of-the-test".to_owned())
    };
    // Whether the broker's caches have followed the metadata.
    loop {
        s.reconnect_quietly();
        s.quietly(1, &handshake("SCRAM-SHA-256"));
        if s.quietly(2, &message(&client("carol", "").first().unwrap())).error_code == 0 {
            break;
        }
    }
    for (what, name, password) in [
        ("the password", "carol", "carol-secret"),
        ("a wrong password", "carol", "wrong"),
        ("an unknown user", "dave", "x"),
    ] {
        s.reconnect(what);
        s.quietly(1, &handshake("SCRAM-SHA-256"));
        let mut client = client(name, password);
        let asked = s.quietly(2, &message(&client.first().unwrap()));
        if asked.error_code != 0 {
            s.line(&format!("refused at once: {:?}", asked.error_message));
            continue;
        }
        let proof = client.evaluate(&asked.auth_bytes).unwrap().unwrap();
        let last = s.quietly(2, &message(&proof));
        let is_proved = last.error_code == 0 && client.evaluate(&last.auth_bytes).is_ok();
        let told = last.error_message;
        s.line(&format!("code {}, {told:?}, proved {is_proved}, {} ms", last.error_code, last.session_lifetime_ms));
    }
    for (what, first) in [
        ("no message", &b"hello"[..]),
        ("a name that is escaped wrongly", b"n,,n=ca=rol,r=x"),
        ("another to act as", b"n,a=bob,n=carol,r=x"),
        ("a channel to bind", b"p=tls-unique,,n=carol,r=x"),
        ("an extension of nobody", b"n,,n=carol,r=x,abc=def"),
    ] {
        s.reconnect(what);
        s.quietly(1, &handshake("SCRAM-SHA-256"));
        let answer = s.quietly(2, &message(first));
        s.line(&format!("code {}, {:?}", answer.error_code, answer.error_message));
    }
    s.reconnect("an administrator");
    s.quietly(1, &handshake("PLAIN"));
    s.quietly(2, &message(b"\0admin\0admin-secret"));
    s.quietly(0, &alter(&[delete("carol", 1)], &[]));
}
