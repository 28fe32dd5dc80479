//! Kafka's names in Rust's case.

const KEYWORDS: [&str; 8] = ["type", "match", "where", "ref", "move", "use", "mod", "fn"];

/// `TransactionalId` becomes `transactional_id`.
pub(super) fn snake(name: &str) -> String {
    // The one acronym in Kafka's names is `KRaft`.
    let name = name.replace("KRaft", "Kraft");
    let mut out = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && after_lower {
            out.push('_');
        }
        after_lower = !c.is_ascii_uppercase();
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// As [`snake`], usable as an identifier.
pub(super) fn field(name: &str) -> String {
    let name = snake(name);
    if KEYWORDS.contains(&name.as_str()) { format!("r#{name}") } else { name }
}
