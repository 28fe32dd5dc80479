//! Deleting, softly and for good, and what clients know of it.

use vltava_schema::{
    Deletion::{Permanent, Soft},
    SchemaError,
};

use crate::{
    schemas::avro,
    tried::{Tried, other, told},
};

const ONE: &str = r#"{"type":"record","name":"D","namespace":"gone","fields":[{"name":"one","type":"string"}]}"#;
const TWO: &str = r#"{"type":"record","name":"D","namespace":"gone","fields":[{"name":"two","type":"string"}]}"#;

pub(crate) fn try_all(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    versions(tried)?;
    subjects(tried)?;
    caches(tried)
}

fn versions(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let registry = tried.client(&[])?;
    let id = registry.register("d", &avro(ONE))?;
    registry.register("d", &avro(TWO))?;
    let for_good = "delete a version for good that is not deleted";
    tried.gives(for_good, "refused (40407)", &told(registry.delete_version("d", 1, Permanent)));
    tried.gives("delete a version", "()", &told(registry.delete_version("d", 1, Soft)));
    tried.gives("delete it again", "no d (40406)", &told(registry.delete_version("d", 1, Soft)));
    tried.gives("the deleted version", "no d (40402)", &told(registry.version("d", 1)));
    tried.gives("versions without the deleted", "[2]", &told(registry.versions("d")));
    tried.gives("id of the deleted", "no d (40403)", &told(registry.id_of("d", &avro(ONE))));
    let by_id = told(tried.client(&[])?.schema(id));
    tried.gives("the deleted by its id", format!("{:?}", avro(ONE)), &by_id);
    tried.gives("register the deleted", id.to_string(), &told(registry.register("d", &avro(ONE))));
    tried.gives("versions with what came back", "[2, 3]", &told(registry.versions("d")));
    tried.gives("delete the deleted for good", "()", &told(registry.delete_version("d", 1, Permanent)));
    tried.gives("delete no version", "no d (40402)", &told(registry.delete_version("d", 9, Soft)));
    Ok(())
}

fn subjects(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let registry = tried.client(&[])?;
    let for_good = "delete a subject for good that is not deleted";
    tried.gives(for_good, "refused (40405)", &told(registry.delete_subject("d", Permanent)));
    tried.gives("delete a subject", "[2, 3]", &told(registry.delete_subject("d", Soft)));
    tried.gives("delete it again", "no d (40404)", &told(registry.delete_subject("d", Soft)));
    tried.gives("versions of the deleted", "no d (40401)", &told(registry.versions("d")));
    tried.gives("latest version of the deleted", "no d (40401)", &told(registry.latest("d")));
    tried.gives(
        "the deleted is not listed",
        "false",
        &told(registry.subjects().map(|all| all.contains(&"d".to_owned()))),
    );
    registry.register("d", &avro(TWO))?;
    tried.gives("a subject that came back", "[4]", &told(registry.versions("d")));
    registry.delete_subject("d", Soft)?;
    tried.gives("delete it for good", "[2, 3, 4]", &told(registry.delete_subject("d", Permanent)));
    registry.register("d", &avro(TWO))?;
    tried.gives("a subject that begins anew", "[1]", &told(registry.versions("d")));
    tried.gives("delete no subject", "no none (40401)", &told(registry.delete_subject("none", Soft)));
    let referred_to = "delete a subject that others refer to";
    tried.gives(referred_to, "refused (42206)", &told(registry.delete_subject("avro-order", Soft)));
    let version = "delete a version that others refer to";
    tried.gives(version, "refused (42206)", &told(registry.delete_version("json-order", 1, Soft)));
    Ok(())
}

/// What a client has asked it does not ask again: it goes on when the schema is gone.
fn caches(tried: &mut Tried<'_>) -> Result<(), SchemaError> {
    let (knows, deletes) = (tried.client(&[])?, tried.client(&[])?);
    let id = knows.register("cached", &avro(ONE))?;
    knows.schema(id)?;
    deletes.delete_subject("cached", Soft)?;
    tried.gives("register what is known", id.to_string(), &told(knows.register("cached", &avro(ONE))));
    tried.gives("id of what is known", id.to_string(), &told(knows.id_of("cached", &avro(ONE))));
    tried.gives("the known was not registered anew", "no cached (40401)", &told(knows.versions("cached")));
    let missing = other("no cached (40401)", "no cached (40403)", "Apicurio looks among the deleted subjects too");
    tried.gives("id of what is not known", missing, &told(deletes.id_of("cached", &avro(ONE))));
    Ok(())
}
