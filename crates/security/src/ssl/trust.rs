//! Whether the certificate of the other end is trusted.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use vltava_config::ConfigError;

use super::config::{ClientAuth, SslConfig, trust_source};
use super::error::{SslError, StoreProblem};
use super::name;
use super::principal_mapper::SslPrincipalMapper;
use super::store::{TRUSTSTORE_LOCATION, TrustSource};

/// The certificates that `ssl.truststore.*` names, or those that the operating system trusts, in DER: for a client that makes
/// its handshakes itself, such as one of HTTP. `text` gives the value of each key that is set.
///
/// # Errors
/// [`ConfigError`] for settings that contradict each other, and for files that cannot be used.
pub fn trusted_certificates<'a>(text: &dyn Fn(&'static str) -> Option<&'a str>) -> Result<Vec<Vec<u8>>, ConfigError> {
    if let Some(source) = trust_source(text)? {
        return Ok(source.load()?);
    }
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return Err(SslError::new(TRUSTSTORE_LOCATION, None, StoreProblem::NoSystemRoots).into());
    }
    Ok(found.into_iter().map(|certificate| certificate.to_vec()).collect())
}

/// The algorithms that TLS is made of here.
#[must_use]
pub fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates that are trusted, and what follows from that: as the JVM does it, one that lies in a truststore itself
/// is trusted as it is, and those that are signed by it only if it is an authority's.
#[derive(Debug)]
pub(super) struct Trust {
    roots: Arc<RootCertStore>,
    /// Those of a truststore, to be found as they are.
    as_they_are: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    checks_host: bool,
}

impl Trust {
    pub(super) fn load(config: &SslConfig, provider: &CryptoProvider) -> Result<Self, SslError> {
        let mut roots = RootCertStore::empty();
        let mut as_they_are = Vec::new();
        match &config.trust {
            Some(source) => {
                for certificate in source.load()? {
                    let refuse = |problem| SslError::new(source.key(), source.path(), problem);
                    let unusable = |error: Error| refuse(StoreProblem::Certificate(error.to_string()));
                    let is_authority = name::is_authority(&certificate).map_err(refuse)?;
                    let certificate = CertificateDer::from(certificate);
                    if is_authority {
                        roots.add(certificate.clone()).map_err(unusable)?;
                    }
                    as_they_are.push(certificate);
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                for error in &found.errors {
                    tracing::debug!("certificates of the operating system: {error}");
                }
                let (taken, _) = roots.add_parsable_certificates(found.certs);
                if taken == 0 {
                    return Err(SslError::new(TRUSTSTORE_LOCATION, None, StoreProblem::NoSystemRoots));
                }
            }
        }
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { roots: Arc::new(roots), as_they_are, algorithms, checks_host: config.checks_host })
    }

    fn has_itself(&self, certificate: &CertificateDer<'_>) -> bool {
        self.as_they_are.iter().any(|trusted| trusted.as_ref() == certificate.as_ref())
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.has_itself(end_entity) {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        }
        if self.checks_host
            && let Err(error) = verify_server_name(&certificate, server_name)
        {
            let by_common_name = match server_name {
                ServerName::DnsName(host) => name::is_for_host_by_common_name(end_entity, host.as_ref()),
                _ => false,
            };
            if !by_common_name {
                return Err(error);
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether the certificate of a client is trusted.
#[derive(Debug)]
pub(super) struct ClientTrust {
    trust: Trust,
    /// None if no authority is trusted.
    by_roots: Option<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    is_required: bool,
    principals: SslPrincipalMapper,
}

impl ClientTrust {
    pub(super) fn load(config: &SslConfig, provider: &Arc<CryptoProvider>) -> Result<Self, SslError> {
        let trust = Trust::load(config, provider)?;
        let key = config.trust.as_ref().map_or(TRUSTSTORE_LOCATION, TrustSource::key);
        let path = config.trust.as_ref().and_then(TrustSource::path);
        let by_roots = match trust.roots.is_empty() {
            true => None,
            false => {
                let builder =
                    WebPkiClientVerifier::builder_with_provider(Arc::clone(&trust.roots), Arc::clone(provider));
                let built = builder.build();
                Some(built.map_err(|error| SslError::new(key, path, StoreProblem::Certificate(error.to_string())))?)
            }
        };
        let mut hints = trust.roots.subjects();
        for certificate in &trust.as_they_are {
            let subject = name::subject(certificate).map(DistinguishedName::in_sequence);
            hints.extend(subject.ok().filter(|subject| !hints.iter().any(|hint| hint.as_ref() == subject.as_ref())));
        }
        let is_required = config.client_auth == ClientAuth::Required;
        Ok(Self { trust, by_roots, hints, is_required, principals: config.principals.clone() })
    }

    fn check_signer(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.trust.has_itself(end_entity) {
            return ParsedCertificate::try_from(end_entity).map(drop);
        }
        match &self.by_roots {
            Some(roots) => roots.verify_client_cert(end_entity, intermediates, now).map(drop),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }
}

impl ClientCertVerifier for ClientTrust {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check_signer(end_entity, intermediates, now)?;
        // Whom no rule names is not let in, and is told so in the handshake: Kafka closes the connection behind it without a
        // word, and its clients try again and again.
        match name::distinguished_name(end_entity) {
            Some(name) if self.principals.name(&name).is_some() => Ok(ClientCertVerified::assertion()),
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}
