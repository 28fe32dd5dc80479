//! Writes a round's records: at a pace, in order, and never so far ahead that what is late would be too late.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use vltava::client::{
    Producer, ProducerConfig,
    producer::{Delivery, ProducerRecord},
};

use crate::{
    model::{InputRecord, STEPS_IN_FLIGHT},
    names::Names,
};

/// Writes to the inputs; clones share the count of what was acknowledged.
#[derive(Clone, Debug)]
pub struct Feed {
    producer: Producer,
    names: Names,
    acknowledged: Arc<AtomicU64>,
}

impl Feed {
    /// Its producer is idempotent and gives up after ten minutes only: what it has sent is there, once.
    ///
    /// # Errors
    /// A setting that the client refuses.
    pub fn new(address: &str, names: Names) -> Result<Self> {
        let config = ProducerConfig::from_properties([
            ("bootstrap.servers", address),
            ("linger.ms", "0"),
            ("delivery.timeout.ms", "600000"),
            ("max.block.ms", "600000"),
        ]);
        Ok(Self { producer: Producer::new(config?)?, names, acknowledged: Arc::default() })
    }

    /// How many records the broker has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Writes the steps, spread evenly over a time; late ones follow at once.
    ///
    /// # Errors
    /// The producer gave up on a record.
    pub async fn steps(&self, steps: &[Vec<InputRecord>], over: Duration) -> Result<()> {
        let start = tokio::time::Instant::now();
        let pace = over / u32::try_from(steps.len().max(1)).unwrap_or(u32::MAX);
        let mut in_flight: VecDeque<Vec<Delivery>> = VecDeque::new();
        for (number, records) in (0..).zip(steps) {
            tokio::time::sleep_until(start + pace * number).await;
            if in_flight.len() >= STEPS_IN_FLIGHT
                && let Some(oldest) = in_flight.pop_front()
            {
                self.acknowledge(oldest).await?;
            }
            in_flight.push_back(self.send(records).await?);
        }
        for deliveries in in_flight {
            self.acknowledge(deliveries).await?;
        }
        Ok(())
    }

    /// Writes records, and waits until all are there.
    ///
    /// # Errors
    /// The producer gave up on a record.
    pub async fn write(&self, records: &[InputRecord]) -> Result<()> {
        let deliveries = self.send(records).await?;
        self.acknowledge(deliveries).await
    }

    async fn send(&self, records: &[InputRecord]) -> Result<Vec<Delivery>> {
        let mut deliveries = Vec::with_capacity(records.len());
        for record in records {
            let topic = self.names.input(record.input);
            let mut sent = ProducerRecord::new(&topic).timestamp(record.timestamp);
            sent.partition = record.partition;
            sent.key = record.key.as_deref().map(str::as_bytes);
            sent.value = record.value.as_deref().map(str::as_bytes);
            deliveries.push(self.producer.send(sent).await.context("the rounds' producer")?);
        }
        Ok(deliveries)
    }

    async fn acknowledge(&self, deliveries: Vec<Delivery>) -> Result<()> {
        for delivery in deliveries {
            delivery.await.context("the rounds' producer gave up on a record")?;
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
