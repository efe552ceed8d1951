//! Which of 64 bytes are quotes, delimiters and line ends, as bits. The one file with unsafe code:
//! AVX-512 or AVX2 where the processor has it, plain Rust elsewhere, with the same results.

/// Bytes that are looked at together.
pub(crate) const WIDTH: usize = 64;

/// The bytes that mean something among 64, one bit each, the first byte in the lowest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Masks {
    pub(crate) quotes: u64,
    pub(crate) delimiters: u64,
    pub(crate) newlines: u64,
    pub(crate) returns: u64,
}

impl Masks {
    /// Returns the masks of the `valid` bytes only.
    #[inline(always)]
    pub(crate) fn only(self, valid: u64) -> Self {
        Self {
            quotes: self.quotes & valid,
            delimiters: self.delimiters & valid,
            newlines: self.newlines & valid,
            returns: self.returns & valid,
        }
    }
}

/// The bytes to look for; without a quote there are none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signs {
    pub(crate) quote: Option<u8>,
    pub(crate) delimiter: u8,
}

/// Work over masks that is compiled once for each way to make them.
pub(crate) trait Work {
    /// What comes of it.
    type Output;

    /// Does the work; `masks` and `prefix_xor` are the fastest that there are. An implementation
    /// is `#[inline(always)]`, so that it is compiled with them.
    fn run(
        self,
        masks: impl Fn(&[u8; WIDTH]) -> Masks,
        prefix_xor: impl Fn(u64) -> u64,
    ) -> Self::Output;
}

/// Does work with the fastest masks of this processor.
pub(crate) fn fastest<W: Work>(signs: Signs, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_wide() {
            // SAFETY: the processor has the features that `x86::run_wide` is compiled for.
            return unsafe { x86::run_wide(signs, work) };
        }
        if x86::is_there() {
            // SAFETY: the processor has the features that `x86::run` is compiled for.
            return unsafe { x86::run(signs, work) };
        }
    }
    portable(signs, work)
}

/// Does work that needs no masks with what this processor can do.
#[inline]
pub(crate) fn fastest_alone<W: Work>(work: W) -> W::Output {
    fastest(Signs { quote: None, delimiter: 0 }, work)
}

/// Does work with masks in plain Rust.
pub(crate) fn portable<W: Work>(signs: Signs, work: W) -> W::Output {
    work.run(|bytes| plain_masks(signs, bytes), prefix_xor)
}

/// Compares eight bytes at a time: a byte that equals becomes a set high bit.
fn plain_masks(signs: Signs, bytes: &[u8; WIDTH]) -> Masks {
    let mut masks = Masks { quotes: 0, delimiters: 0, newlines: 0, returns: 0 };
    for (index, eight) in bytes.chunks_exact(8).enumerate() {
        let word = eight.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let shift = index * 8;
        let equal = |byte: u8| gather(zero_bytes(word ^ (LOW * u64::from(byte)))) << shift;
        masks.quotes |= signs.quote.map_or(0, equal);
        masks.delimiters |= equal(signs.delimiter);
        masks.newlines |= equal(b'\n');
        masks.returns |= equal(b'\r');
    }
    masks
}

/// The lowest bit of each of eight bytes.
const LOW: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each of eight bytes.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Sets the high bit of each byte that is zero, and of no other.
fn zero_bytes(word: u64) -> u64 {
    let low_bits = (word & !HIGH).wrapping_add(!HIGH);
    !(low_bits | word) & HIGH
}

/// Gathers the high bits of eight bytes into the lowest eight bits.
fn gather(high_bits: u64) -> u64 {
    // Each product lands in a bit of its own of the top byte: nothing carries.
    (high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Returns in each bit whether an odd number of bits is set up to it, itself included.
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8,
        _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
        _mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_set1_epi8,
    };

    use super::{Masks, Signs, WIDTH, Work};

    pub(super) fn is_there() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("pclmulqdq")
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,pclmulqdq")]
    pub(super) fn run<W: Work>(signs: Signs, work: W) -> W::Output {
        work.run(|bytes| masks(signs, bytes), |bits| prefix_xor(bits))
    }

    pub(super) fn has_wide() -> bool {
        is_there() && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2,popcnt,pclmulqdq")]
    pub(super) fn run_wide<W: Work>(signs: Signs, work: W) -> W::Output {
        work.run(|bytes| wide_masks(signs, bytes), |bits| prefix_xor(bits))
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn wide_masks(signs: Signs, bytes: &[u8; WIDTH]) -> Masks {
        // SAFETY: the load is of these 64 bytes and needs no alignment.
        let all = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
        let equal = |byte: u8| _mm512_cmpeq_epi8_mask(all, _mm512_set1_epi8(byte.cast_signed()));
        Masks {
            quotes: signs.quote.map_or(0, equal),
            delimiters: equal(signs.delimiter),
            newlines: equal(b'\n'),
            returns: equal(b'\r'),
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn masks(signs: Signs, bytes: &[u8; WIDTH]) -> Masks {
        let at: *const __m256i = bytes.as_ptr().cast();
        // SAFETY: both loads lie within the 64 bytes and need no alignment.
        let (low, high) = unsafe { (_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))) };
        let bits = |low: __m256i, high: __m256i| {
            let low = _mm256_movemask_epi8(low).cast_unsigned();
            let high = _mm256_movemask_epi8(high).cast_unsigned();
            u64::from(low) | u64::from(high) << 32
        };
        let equal = |byte: u8| {
            let wanted = _mm256_set1_epi8(byte.cast_signed());
            bits(_mm256_cmpeq_epi8(low, wanted), _mm256_cmpeq_epi8(high, wanted))
        };
        Masks {
            quotes: signs.quote.map_or(0, equal),
            delimiters: equal(signs.delimiter),
            newlines: equal(b'\n'),
            returns: equal(b'\r'),
        }
    }

    /// The product with all ones, without carries, is the sum of all shifts.
    #[target_feature(enable = "pclmulqdq")]
    #[inline]
    fn prefix_xor(bits: u64) -> u64 {
        let product =
            _mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits.cast_signed()), _mm_set1_epi8(-1));
        _mm_cvtsi128_si64(product).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the masks of 64 bytes and the prefix of their quotes.
    struct First<'a>(&'a [u8; WIDTH]);

    impl Work for First<'_> {
        type Output = (Masks, u64);

        #[inline(always)]
        fn run(
            self,
            masks: impl Fn(&[u8; WIDTH]) -> Masks,
            prefix_xor: impl Fn(u64) -> u64,
        ) -> (Masks, u64) {
            let masks = masks(self.0);
            (masks, prefix_xor(masks.quotes))
        }
    }

    proptest::proptest! {
        #[test]
        fn all_ways_see_the_same(
            bytes in proptest::collection::vec(proptest::prop_oneof![
                proptest::prelude::any::<u8>(),
                proptest::sample::select(b"\",;\n\r!\x8a\xa2".to_vec()),
            ], WIDTH),
            quote in proptest::option::of(proptest::prelude::Just(b'"')),
        ) {
            let bytes: [u8; WIDTH] = bytes.try_into().unwrap();
            let signs = Signs { quote, delimiter: b',' };
            let bits = |wanted: &dyn Fn(u8) -> bool| {
                bytes.iter().rev().fold(0_u64, |bits, byte| bits << 1 | u64::from(wanted(*byte)))
            };
            let quotes = bits(&|byte| Some(byte) == quote);
            let expected = Masks {
                quotes,
                delimiters: bits(&|byte| byte == b','),
                newlines: bits(&|byte| byte == b'\n'),
                returns: bits(&|byte| byte == b'\r'),
            };
            let parity = |bit: u32| u64::from((quotes << (63 - bit)).count_ones() % 2) << bit;
            let prefix = (0..64).map(parity).sum::<u64>();
            proptest::prop_assert_eq!(portable(signs, First(&bytes)), (expected, prefix));
            proptest::prop_assert_eq!(fastest(signs, First(&bytes)), (expected, prefix));
            #[cfg(target_arch = "x86_64")]
            if x86::is_there() {
                // SAFETY: as in `fastest`.
                let narrow = unsafe { x86::run(signs, First(&bytes)) };
                proptest::prop_assert_eq!(narrow, (expected, prefix));
            }
        }
    }
}
