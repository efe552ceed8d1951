//! The sandbox's own random numbers: small, fast and the same on every machine.
//!
//! One stream belongs to one company and one purpose, so that drawing one more value for the
//! address does not move the accounts, and company `i` never depends on how many rows are asked
//! for. Not for secrets: SplitMix64 is a statistical generator only.

/// A stream of pseudo-random numbers.
///
/// The step is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// OOPSLA 2014; public-domain C by Sebastiano Vigna, <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

/// Whose numbers: one company, namely the `tenancy`-th in its place of the register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(u64);

impl Key {
    /// Returns the key of the company at `index` and `tenancy` of `seed`.
    pub(super) fn new(seed: u64, index: u64, tenancy: u32) -> Self {
        Self(mix(mix(mix(seed) ^ index) ^ u64::from(tenancy)))
    }

    /// Returns the stream for one `purpose`; two purposes never share a number.
    pub(super) fn stream(self, purpose: u32) -> Rng {
        Rng(mix(self.0 ^ u64::from(purpose)))
    }
}

impl Rng {
    /// Returns the stream that begins at `bits`.
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(mix(bits))
    }

    /// Returns the next 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// Returns a number from 0 up to, not including, `end` (0 when `end` is 0).
    pub(super) fn below(&mut self, end: u32) -> u32 {
        // Lemire's multiplication instead of a remainder; the bias of 2^-32 does not matter here.
        let scaled = (self.bits() >> 32) * u64::from(end);
        u32::try_from(scaled >> 32).unwrap_or(0)
    }

    /// Returns true in `parts` of a million draws.
    pub(super) fn chance(&mut self, parts: u32) -> bool {
        self.below(1_000_000) < parts
    }

    /// Returns one of `items`, each equally likely; `""` when there is none.
    pub(super) fn pick(&mut self, items: &[&'static str]) -> &'static str {
        let end = u32::try_from(items.len()).unwrap_or(u32::MAX);
        items.get(self.below(end) as usize).copied().unwrap_or("")
    }

    /// Returns the place in `ends`, a rising list of running totals, where a random number up to
    /// the last total falls: the way to draw from a weighted list.
    pub(super) fn weighted(&mut self, ends: &[u32]) -> usize {
        let drawn = self.below(ends.last().copied().unwrap_or(0));
        ends.partition_point(|&end| end <= drawn)
    }

    /// Returns an exponential draw of mean 1, in units of 2^-16.
    ///
    /// -ln(u) by leading zeros plus a straight line in between: within 0.06 of the true value,
    /// and free of the platform's logarithm, which need not round alike everywhere.
    pub(super) fn exponential(&mut self) -> u64 {
        let bits = self.bits() | 1;
        let zeros = u64::from(bits.leading_zeros());
        let mantissa = (bits << zeros) << 1 >> 48;
        let base_two = (zeros << 16) + (0x1_0000 - mantissa);
        (base_two * 45_426) >> 16
    }
}

/// Returns `value` after one full SplitMix64 step: a good hash of a counter.
pub(super) fn mix(value: u64) -> u64 {
    scramble(value.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
