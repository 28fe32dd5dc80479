//! What users have of SCRAM, in the form of settings: `SCRAM-SHA-256=[iterations=8192,password=secret]`.

use std::collections::BTreeMap;
use std::io::Write;

use vltava_client::Admin;
use vltava_client::admin::{AlterConfigOp, ScramMechanism, UserScramCredentialAlteration};

use super::entity::{Asked, Kind};
use crate::failure::Failure;

/// As often a password is hashed where nothing is said, and at least.
const FEWEST_ITERATIONS: u32 = 4096;

/// Alters what a user has.
pub(super) async fn alter(admin: &Admin, alterations: Vec<UserScramCredentialAlteration>) -> Result<(), Failure> {
    for result in admin.alter_user_scram_credentials(alterations).await.into_values() {
        result?;
    }
    Ok(())
}

/// Tells what users have: one, or all of them; nothing where it is about clients, or the default of users.
pub(super) async fn describe(admin: &Admin, asked: &Asked, out: &mut dyn Write) -> Result<(), Failure> {
    if asked.kinds != [Kind::User] || asked.names.iter().any(String::is_empty) {
        return Ok(());
    }
    for (user, credentials) in admin.describe_user_scram_credentials(&asked.names).await? {
        let credentials = match credentials {
            Ok(credentials) => credentials,
            // Kafka's tool says nothing of a user without any.
            Err(error) if error.code() == Some(vltava_client::ErrorCode::ResourceNotFound) => continue,
            Err(error) => return Err(error.into()),
        };
        let shown =
            credentials.iter().map(|info| format!("{}=iterations={}", info.mechanism.mechanism(), info.iterations));
        let shown = shown.collect::<Vec<_>>().join(", ");
        writeln!(out, "SCRAM credential configs for user-principal '{user}' are {shown}")?;
    }
    Ok(())
}

/// What changes of settings that name mechanisms make of a user's credentials.
pub(super) fn alterations(
    user: &str,
    changes: BTreeMap<String, AlterConfigOp>,
) -> Result<Vec<UserScramCredentialAlteration>, Failure> {
    let mut alterations = Vec::new();
    for (key, change) in changes {
        let Some(mechanism) = mechanism(&key) else { continue };
        alterations.push(match change {
            AlterConfigOp::Set(value) => {
                let (iterations, password) = credential(&key, &value)?;
                UserScramCredentialAlteration::upsert(user, mechanism, password).iterations(iterations)
            }
            _ => UserScramCredentialAlteration::delete(user, mechanism),
        });
    }
    Ok(alterations)
}

/// The mechanism of this name.
pub(super) fn mechanism(name: &str) -> Option<ScramMechanism> {
    [ScramMechanism::Sha256, ScramMechanism::Sha512].into_iter().find(|mechanism| mechanism.mechanism().name() == name)
}

/// Iterations and password of `iterations=N,password=P`, of which the first may be missing.
fn credential<'a>(key: &str, value: &'a str) -> Result<(u32, &'a str), Failure> {
    // Kafka's tool shows the value here, and with it the password.
    let wrong = || Failure::Message(format!("Invalid credential property {key}: must be iterations=N,password=P"));
    let (iterations, rest) = match value.strip_prefix("iterations=") {
        Some(rest) => {
            let (iterations, rest) = rest.split_once(',').ok_or_else(wrong)?;
            let iterations =
                if iterations == "-1" { FEWEST_ITERATIONS } else { iterations.parse().map_err(|_| wrong())? };
            (iterations, rest)
        }
        None => (FEWEST_ITERATIONS, value),
    };
    let password = rest.strip_prefix("password=").ok_or_else(wrong)?;
    if iterations < FEWEST_ITERATIONS {
        let text = format!("Iterations {iterations} is less than the minimum {FEWEST_ITERATIONS} required for {key}");
        return Err(Failure::Message(text));
    }
    if password.is_empty() {
        return Err(Failure::Message("Password must not be empty".to_owned()));
    }
    Ok((iterations, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn altered(key: &str, op: AlterConfigOp) -> Result<Vec<UserScramCredentialAlteration>, String> {
        alterations("dave", BTreeMap::from([(key.to_owned(), op)])).map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn credentials_have_the_form_of_kafkas_tool() {
        let set = |value: &str| altered("SCRAM-SHA-512", AlterConfigOp::Set(value.to_owned()));
        let upsert = |password: &str| UserScramCredentialAlteration::upsert("dave", ScramMechanism::Sha512, password);
        assert_eq!(set("iterations=8192,password=a=b,c"), Ok(vec![upsert("a=b,c").iterations(8192)]));
        assert_eq!(set("password=x"), Ok(vec![upsert("x")]));
        assert_eq!(set("iterations=-1,password=x"), Ok(vec![upsert("x")]));
        let delete = UserScramCredentialAlteration::delete("dave", ScramMechanism::Sha256);
        assert_eq!(altered("SCRAM-SHA-256", AlterConfigOp::Delete), Ok(vec![delete]));
    }

    #[test]
    fn what_is_none_is_refused_without_its_password() {
        let form = "Invalid credential property SCRAM-SHA-256: must be iterations=N,password=P";
        for (key, value, expected) in [
            ("SCRAM-SHA-256", "hidden", form),
            ("SCRAM-SHA-256", "iterations=x,password=hidden", form),
            ("SCRAM-SHA-256", "iterations=5000", form),
            ("SCRAM-SHA-256", "iterations=5000,password=", "Password must not be empty"),
            (
                "SCRAM-SHA-256",
                "iterations=4095,password=hidden",
                "Iterations 4095 is less than the minimum 4096 required for SCRAM-SHA-256",
            ),
        ] {
            assert_eq!(altered(key, AlterConfigOp::Set(value.to_owned())).unwrap_err(), expected);
        }
    }
}
