use super::Compression;

/// Learns how well the records of one topic compress, so that batches are filled to the size that
/// they will have once compressed (as Kafka's producer does, per topic and codec).
#[derive(Debug, Clone, PartialEq)]
pub struct CompressionRatioEstimator {
    ratios: [f32; 5],
}

impl CompressionRatioEstimator {
    /// An estimator that has seen nothing and assumes that nothing compresses.
    pub fn new() -> Self {
        Self { ratios: [1.0; 5] }
    }

    /// The compressed size by the uncompressed one that the next batch may have.
    pub fn estimate(&self, compression: Compression) -> f32 {
        self.ratios.get(usize::from(compression.id())).copied().unwrap_or(1.0)
    }

    /// Takes in the ratio of a batch that was built. Worse ratios are believed at once and with a
    /// margin, better ones slowly: a batch too large costs a split and another request.
    pub fn observe(&mut self, compression: Compression, uncompressed: usize, compressed: usize) {
        const IMPROVING_STEP: f32 = 0.005;
        const DETERIORATING_STEP: f32 = 0.05;
        let Some(ratio) = self.ratios.get_mut(usize::from(compression.id())) else {
            return;
        };
        if uncompressed == 0 {
            return;
        }
        let observed = compressed as f32 / uncompressed as f32;
        if observed > *ratio {
            *ratio = observed.max(*ratio + DETERIORATING_STEP);
        } else if observed < *ratio {
            *ratio = observed.max(*ratio - IMPROVING_STEP);
        }
    }

    /// Assumes at least `ratio` from now on, after a broker has refused a batch as too large.
    pub fn reset(&mut self, compression: Compression, ratio: f32) {
        if let Some(known) = self.ratios.get_mut(usize::from(compression.id())) {
            *known = ratio.max(1.0);
        }
    }
}

impl Default for CompressionRatioEstimator {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_ratios_are_believed_slowly_and_worse_at_once() {
        let mut estimator = CompressionRatioEstimator::new();
        estimator.observe(Compression::Zstd, 1000, 300);
        assert!((estimator.estimate(Compression::Zstd) - 0.995).abs() < 1e-6);
        assert_eq!(estimator.estimate(Compression::Lz4), 1.0);
        for _ in 0..200 {
            estimator.observe(Compression::Zstd, 1000, 300);
        }
        assert!((estimator.estimate(Compression::Zstd) - 0.3).abs() < 1e-6);
        estimator.observe(Compression::Zstd, 1000, 310);
        assert!((estimator.estimate(Compression::Zstd) - 0.35).abs() < 1e-6);
        estimator.reset(Compression::Zstd, 1.2);
        assert!((estimator.estimate(Compression::Zstd) - 1.2).abs() < 1e-6);
    }
}
