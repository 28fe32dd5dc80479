//! Principals, the rules that make them of certificates, and entries of access control lists.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vltava_security::KafkaPrincipal;
use vltava_security::acl::{AclOperation, AclPermissionType, PatternType, ResourceType};
use vltava_security::ssl::SslPrincipalMapper;

fuzz_target!(|data: (&str, &str)| {
    let (text, name) = data;
    if let Ok(principal) = text.parse::<KafkaPrincipal>() {
        assert_eq!(principal.to_string(), text);
        assert!(!principal.kind().is_empty() && !principal.kind().contains(':'));
    }
    if let Ok(rules) = SslPrincipalMapper::parse(text) {
        let first = rules.name(name);
        assert_eq!(rules.name(name), first);
    }
    macro_rules! named {
        ($($kind:ty),*) => {$(
            if let Some(known) = <$kind>::from_name(text) {
                assert_eq!(<$kind>::from_name(&known.to_string()), Some(known));
            }
        )*};
    }
    named!(AclOperation, AclPermissionType, PatternType, ResourceType);
});
