//! A small generator: the same seed gives the same throws, on every machine and in every version.

/// Throws.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Different seeds, and different uses of one seed, have nothing to do with each other.
    pub fn new(seed: u64, used_for: u64) -> Self {
        // splitmix64, so that neighbouring seeds do not begin alike.
        let mut mixed =
            seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ used_for.wrapping_mul(0xD1B5_4A32_D192_ED03);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// 0 to `below` - 1.
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below.max(1)
    }

    /// True once in so many throws.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// `from` to `to`, both included.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(to.abs_diff(from) + 1)).unwrap_or(0)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let many = u64::try_from(of.len()).unwrap_or(1);
        &of[usize::try_from(self.below(many)).unwrap_or(0)]
    }
}
