//! Java's `java.util.Random`, so that what is drawn is what Kafka's tools draw.

/// A linear congruential generator of 48 bits.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    seed: u64,
}

impl Random {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;

    pub(crate) fn new(seed: u64) -> Self {
        Self { seed: (seed ^ Self::MULTIPLIER) & Self::MASK }
    }

    /// 31 bits.
    fn next(&mut self) -> i32 {
        self.seed = self.seed.wrapping_mul(Self::MULTIPLIER).wrapping_add(0xB) & Self::MASK;
        i32::try_from(self.seed >> 17).unwrap_or(i32::MAX)
    }

    /// A number from 0 up to `bound`, which is positive.
    pub(crate) fn below(&mut self, bound: i32) -> i32 {
        if bound & (bound - 1) == 0 {
            return i32::try_from((i64::from(bound) * i64::from(self.next())) >> 31).unwrap_or_default();
        }
        // Those that would make some numbers likelier are drawn again.
        loop {
            let drawn = self.next();
            let rest = drawn % bound;
            if drawn.wrapping_sub(rest).wrapping_add(bound - 1) >= 0 {
                return rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn numbers_are_javas() {
        // `new Random(0)`, from `nextInt(bound)` each.
        let mut random = Random::new(0);
        let drawn: Vec<i32> = (0..8).map(|_| random.below(100)).collect();
        assert_eq!(drawn, [60, 48, 29, 47, 15, 53, 91, 61]);
        let mut random = Random::new(42);
        let drawn: Vec<i32> = (0..4).map(|_| random.below(10)).collect();
        assert_eq!(drawn, [0, 3, 8, 4]);
        let mut random = Random::new(0);
        let drawn: Vec<i32> = (0..4).map(|_| random.below(16)).collect();
        assert_eq!(drawn, [11, 13, 3, 9]);
    }
}
