//! Addresses where no registry answers.

use std::net::TcpListener;

use vltava_schema::{RegistryConfig, SchemaError, SchemaRegistry};

use crate::tried::Tried;

/// As long as a registry may take that is only slow, in ms.
const PATIENCE: &str = "60000";

fn subjects(url: &str, timeout: &str) -> Result<Vec<String>, SchemaError> {
    let settings = [("schema.registry.url", url), ("http.read.timeout.ms", timeout)];
    SchemaRegistry::new(RegistryConfig::from_properties(settings)?)?.subjects()
}

fn error(url: &str, timeout: &str) -> (String, bool) {
    match subjects(url, timeout) {
        Ok(subjects) => (format!("{subjects:?}"), false),
        Err(error) => (error.to_string(), error.is_retriable()),
    }
}

/// `url` is a registry's.
pub(crate) fn try_all(tried: &mut Tried<'_>, url: &str) -> Result<(), Box<dyn std::error::Error>> {
    // Listens, and never accepts.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let silent = (format!("http://{}", silent.local_addr()?), silent);
    let (text, is_retriable) = error(&silent.0, "50");
    let expected = format!("the schema registry at {} cannot be reached: timeout: ", silent.0);
    tried.gives("a silent address", expected.as_str(), text.get(..expected.len()).unwrap_or(&text));
    tried.gives("a silent address: may be tried again", "true", &is_retriable.to_string());

    let away = format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let (text, is_retriable) = error(&away, PATIENCE);
    let expected = format!("the schema registry at {away} cannot be reached: ");
    tried.gives("nobody there", expected.as_str(), text.get(..expected.len()).unwrap_or(&text));
    tried.gives("nobody there: may be tried again", "true", &is_retriable.to_string());

    for (call, wrong) in [("a wrong path", format!("{url}/wrong")), ("no path", root_of(url))] {
        let (text, is_retriable) = error(&wrong, PATIENCE);
        let expected = format!(
            "the schema registry's answer to GET {wrong}/subjects cannot be read: HTTP status 404 without a registry's \
             error code: is `schema.registry.url` right?"
        );
        tried.gives(call, expected, &text);
        tried.gives(&format!("{call}: will not be right later"), "false", &is_retriable.to_string());
    }

    let answered = subjects(&format!("{away},{url}"), PATIENCE).is_ok().to_string();
    tried.gives("the next address answers", "true", &answered);
    Ok(())
}

/// An address without its path, which for Apicurio's registry leaves out where this REST is.
fn root_of(url: &str) -> String {
    let host = url.find("://").map_or(0, |end| end + 3);
    let end = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or(url).to_owned()
}
