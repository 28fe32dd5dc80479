//! `kafka-consumer-groups --delete`.

use std::io::Write;

use vltava_client::Admin;

use crate::failure::{Failure, exception};
use crate::java::hash_map_order;

pub(super) async fn delete(admin: &Admin, groups: Vec<String>, out: &mut dyn Write) -> Result<(), Failure> {
    let (mut deleted, mut kept) = (Vec::new(), Vec::new());
    for (group, result) in admin.delete_groups(groups).await {
        match result {
            Ok(()) => deleted.push(group),
            Err(error) => kept.push((group, error)),
        }
    }
    hash_map_order(&mut deleted, 16, |group| group);
    hash_map_order(&mut kept, 16, |(group, _)| group);
    let names = deleted.iter().map(|group| format!("'{group}'")).collect::<Vec<_>>().join(", ");
    if kept.is_empty() {
        return Ok(writeln!(out, "Deletion of requested consumer groups ({names}) was successful.")?);
    }
    writeln!(out, "\nError: Deletion of some consumer groups failed:")?;
    for (group, error) in kept {
        writeln!(out, "* Group '{group}' could not be deleted due to: {}", exception(&error))?;
    }
    if !deleted.is_empty() {
        writeln!(out, "\nThese consumer groups were deleted successfully: {names}")?;
    }
    Ok(())
}
