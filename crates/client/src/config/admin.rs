//! The admin client's configuration.

use vltava_config::{ConfigError, ConfigWarning, Reader, Tables};

use super::common::CommonConfig;
use super::definitions::{ADMIN, COMMON};
use super::security::SECURITY;
use super::{client_config, setters};
use crate::metrics::ClientKind;

pub(super) const TABLES: Tables = &[COMMON, SECURITY, vltava_security::ssl::CLIENT, ADMIN];

/// The admin client's settings, checked.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    pub(crate) common: CommonConfig,
    pub(crate) retries: u32,
    warnings: Vec<ConfigWarning>,
}

impl AdminConfig {
    pub(super) fn read(settings: &Reader<'_>) -> Result<Self, ConfigError> {
        let mut common = CommonConfig::read(settings, ClientKind::Admin)?;
        common.api_timeout = settings.duration("default.api.timeout.ms")?;
        let retries = u32::try_from(settings.size("retries")?).unwrap_or(u32::MAX);
        Ok(Self { common, retries, warnings: settings.warnings() })
    }
}

client_config!(AdminConfig, AdminConfigBuilder);

impl AdminConfigBuilder {
    setters! {
        /// `default.api.timeout.ms`, default 60 s: how long a call as a whole may take, retries included.
        default_api_timeout: duration = "default.api.timeout.ms";
        /// `retries`, default 2147483647.
        retries: i32 = "retries";
    }
}
