//! A console that runs.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use vltava_client::{Admin, AdminConfig, ConsumerConfig};

use crate::config::ConsoleConfig;
use crate::error::ConsoleError;
use crate::sampler::Sampler;
use crate::server::{self, Guard};

/// How many readers of records there are at once: each has connections of its own.
const READERS: usize = 4;

/// What the answers are made of.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) admin: Admin,
    pub(crate) config: ConsoleConfig,
    pub(crate) sampler: Sampler,
    pub(crate) guard: Guard,
    pub(crate) readers: Semaphore,
}

/// A console that is bound to its address.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Console {
    /// Takes the address. The cluster is asked when somebody opens the page, and need not be there.
    ///
    /// # Errors
    /// [`ConsoleError::Refused`] for an address that others reach without a login, [`ConsoleError::Client`] for settings
    /// that the clients do not take, [`ConsoleError::Listen`] where the address cannot be had.
    pub async fn bind(config: ConsoleConfig) -> Result<Self, ConsoleError> {
        config.check()?;
        let admin = Admin::new(AdminConfig::from_properties(config.properties(&[]))?)?;
        // What readers of records would meet later is told now.
        ConsumerConfig::from_properties_quietly(config.properties(&[]))?;
        let listen = |source| ConsoleError::Listen { address: config.address, source };
        let listener = TcpListener::bind(config.address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Shared {
            sampler: Sampler::new(admin.clone()),
            admin,
            guard: Guard::new(&config),
            config,
            readers: Semaphore::new(READERS),
        };
        Ok(Self { listener, address, shared: Arc::new(shared) })
    }

    /// Where the page is.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the future is dropped.
    ///
    /// Cancel-safe: dropping it ends the serving.
    ///
    /// # Errors
    /// [`ConsoleError::Listen`] where the listener fails in a way that does not pass.
    pub async fn serve(self) -> Result<(), ConsoleError> {
        let address = self.address;
        let served = server::serve(self.listener, self.shared).await;
        served.map_err(|source| ConsoleError::Listen { address, source })
    }
}
