//! Keys and certificates as text. As in Kafka the lines may be joined by any white space: in a properties file all of it
//! stands in one line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::StoreProblem;

/// What stands between a `BEGIN` and its `END`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Such as `CERTIFICATE`.
    pub(super) label: String,
    pub(super) bytes: Vec<u8>,
}

/// Whether there is anything of this kind.
pub(super) fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes())
}

const MARK: &str = "-----BEGIN ";

/// All sections of a text; what is around them is left out.
pub(super) fn sections(text: &str) -> Result<Vec<Section>, StoreProblem> {
    const BROKEN: StoreProblem = StoreProblem::Malformed("a section of PEM does not end");
    let mut sections = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(MARK) {
        let (label, after) = after.split_once("-----").ok_or(BROKEN)?;
        let (body, after) = after.split_once("-----END ").ok_or(BROKEN)?;
        let (end, after) = after.split_once("-----").ok_or(BROKEN)?;
        let label = label.split_whitespace().collect::<Vec<_>>().join(" ");
        if label != end.split_whitespace().collect::<Vec<_>>().join(" ") {
            return Err(StoreProblem::Malformed("a section of PEM ends as another"));
        }
        if body.contains("Proc-Type:") {
            return Err(StoreProblem::Unsupported(
                "the encryption of PEM itself (use an encrypted key in PKCS#8, as `openssl pkcs8 -topk8` makes one)"
                    .to_owned(),
            ));
        }
        let body: String = body.split_whitespace().collect();
        let bytes = STANDARD.decode(body).map_err(|_| StoreProblem::Malformed("a section of PEM is not in base 64"))?;
        sections.push(Section { label, bytes });
        rest = after;
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_among_other_text_and_in_one_line() {
        let text = "Bag Attributes\n  friendlyName: a\n-----BEGIN CERTIFICATE-----\nAQ\n ID\r\n-----END CERTIFICATE-----\n\
            -----BEGIN PRIVATE KEY----- BAUG -----END PRIVATE KEY-----";
        let got = sections(text).unwrap();
        let section = |label: &str, bytes: &[u8]| Section { label: label.to_owned(), bytes: bytes.to_vec() };
        assert_eq!(got, [section("CERTIFICATE", &[1, 2, 3][..3]), section("PRIVATE KEY", &[4, 5, 6])]);
        assert_eq!(sections("nothing"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_cut_or_not_base_64_is_malformed() {
        for text in [
            "-----BEGIN CERTIFICATE-----\nAQID\n",
            "-----BEGIN CERTIFICATE",
            "-----BEGIN A-----\n!!\n-----END A-----",
            "-----BEGIN A-----\nAQID\n-----END B-----",
        ] {
            assert!(matches!(sections(text), Err(StoreProblem::Malformed(_))), "{text}");
        }
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END RSA PRIVATE KEY-----";
        assert!(matches!(sections(old), Err(StoreProblem::Unsupported(_))));
    }
}
