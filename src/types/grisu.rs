//! Doubles to text, digit for digit as Valkey prints scores.
//!
//! Valkey prints with Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers",
//! 2010), which yields digits that read back as the same double and are nearly always, but not always, the shortest
//! and closest. To print the same digits, the same algorithm with the same precision is needed; a better one differs
//! in about 0.6 % of random doubles.

/// The significands of 10^(-348 + 8 i), rounded to 64 bits with the top bit set.
const POWERS: [u64; 87] = [
    0xfa8fd5a0081c0288,
    0xbaaee17fa23ebf76,
    0x8b16fb203055ac76,
    0xcf42894a5dce35ea,
    0x9a6bb0aa55653b2d,
    0xe61acf033d1a45df,
    0xab70fe17c79ac6ca,
    0xff77b1fcbebcdc4f,
    0xbe5691ef416bd60c,
    0x8dd01fad907ffc3c,
    0xd3515c2831559a83,
    0x9d71ac8fada6c9b5,
    0xea9c227723ee8bcb,
    0xaecc49914078536d,
    0x823c12795db6ce57,
    0xc21094364dfb5637,
    0x9096ea6f3848984f,
    0xd77485cb25823ac7,
    0xa086cfcd97bf97f4,
    0xef340a98172aace5,
    0xb23867fb2a35b28e,
    0x84c8d4dfd2c63f3b,
    0xc5dd44271ad3cdba,
    0x936b9fcebb25c996,
    0xdbac6c247d62a584,
    0xa3ab66580d5fdaf6,
    0xf3e2f893dec3f126,
    0xb5b5ada8aaff80b8,
    0x87625f056c7c4a8b,
    0xc9bcff6034c13053,
    0x964e858c91ba2655,
    0xdff9772470297ebd,
    0xa6dfbd9fb8e5b88f,
    0xf8a95fcf88747d94,
    0xb94470938fa89bcf,
    0x8a08f0f8bf0f156b,
    0xcdb02555653131b6,
    0x993fe2c6d07b7fac,
    0xe45c10c42a2b3b06,
    0xaa242499697392d3,
    0xfd87b5f28300ca0e,
    0xbce5086492111aeb,
    0x8cbccc096f5088cc,
    0xd1b71758e219652c,
    0x9c40000000000000,
    0xe8d4a51000000000,
    0xad78ebc5ac620000,
    0x813f3978f8940984,
    0xc097ce7bc90715b3,
    0x8f7e32ce7bea5c70,
    0xd5d238a4abe98068,
    0x9f4f2726179a2245,
    0xed63a231d4c4fb27,
    0xb0de65388cc8ada8,
    0x83c7088e1aab65db,
    0xc45d1df942711d9a,
    0x924d692ca61be758,
    0xda01ee641a708dea,
    0xa26da3999aef774a,
    0xf209787bb47d6b85,
    0xb454e4a179dd1877,
    0x865b86925b9bc5c2,
    0xc83553c5c8965d3d,
    0x952ab45cfa97a0b3,
    0xde469fbd99a05fe3,
    0xa59bc234db398c25,
    0xf6c69a72a3989f5c,
    0xb7dcbf5354e9bece,
    0x88fcf317f22241e2,
    0xcc20ce9bd35c78a5,
    0x98165af37b2153df,
    0xe2a0b5dc971f303a,
    0xa8d9d1535ce3b396,
    0xfb9b7cd9a4a7443c,
    0xbb764c4ca7a44410,
    0x8bab8eefb6409c1a,
    0xd01fef10a657842c,
    0x9b10a4e5e9913129,
    0xe7109bfba19c0c9d,
    0xac2820d9623bf429,
    0x80444b5e7aa7cf85,
    0xbf21e44003acdd2d,
    0x8e679c2f5e44ff8f,
    0xd433179d9c8cb841,
    0x9e19db92b4e31ba9,
    0xeb96bf6ebadf77d9,
    0xaf87023b9bf0ee6b,
];
const POWER_FIRST: i32 = -348;
const POWER_STEP: i32 = 8;
/// The scaled value's binary exponent must lie in this range, so that its integer part fits 32 bits.
const EXPONENT_MIN: i32 = -60;
const EXPONENT_MAX: i32 = -32;

/// significand * 2^exponent
#[derive(Clone, Copy)]
struct Scaled {
    significand: u64,
    exponent: i32,
}

impl Scaled {
    fn normalised(self) -> Self {
        let shift = self.significand.leading_zeros();
        Scaled { significand: self.significand << shift, exponent: self.exponent - shift as i32 }
    }

    fn times(self, other: Scaled) -> Self {
        let product = self.significand as u128 * other.significand as u128 + (1 << 63);
        Scaled { significand: (product >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

fn power_exponent(k: i32) -> i32 {
    // floor(k * log2(10)) - 63, exact over the table's range.
    ((k * 217_706) >> 16) - 63
}

/// The cached power of ten that brings `exponent` into range, and its decimal exponent.
fn power_for(exponent: i32) -> (Scaled, i32) {
    let estimate = -((exponent + POWERS.len() as i32) as f64) * std::f64::consts::LOG10_2;
    let mut index = (estimate as i32 - POWER_FIRST) / POWER_STEP;
    loop {
        let k = POWER_FIRST + index * POWER_STEP;
        let power = Scaled { significand: POWERS[index as usize], exponent: power_exponent(k) };
        let reached = exponent + power.exponent + 64;
        if reached < EXPONENT_MIN {
            index += 1;
        } else if reached > EXPONENT_MAX {
            index -= 1;
        } else {
            return (power, k);
        }
    }
}

/// Digits of a positive finite double: writes them into `digits` and returns (count, decimal exponent), so that the
/// value is digits * 10^exponent.
pub(super) fn digits(value: f64, digits: &mut [u8; 20]) -> (usize, i32) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let biased = (bits >> 52 & 0x7ff) as i32;
    let exact = if biased == 0 {
        Scaled { significand: fraction, exponent: -1074 }
    } else {
        Scaled { significand: fraction | 1 << 52, exponent: biased - 1075 }
    };
    // The interval of reals that round to this double: half a step up, half a step (or a quarter) down.
    let upper =
        Scaled { significand: (exact.significand << 1) + 1, exponent: exact.exponent - 1 }.normalised();
    let narrow_below = exact.significand == 1 << 52;
    let shift = if narrow_below { 2 } else { 1 };
    let below = Scaled { significand: (exact.significand << shift) - 1, exponent: exact.exponent - shift };
    let lower_significand = below.significand << (below.exponent - upper.exponent);
    let lower = Scaled { significand: lower_significand, exponent: upper.exponent };

    let (power, k) = power_for(upper.exponent);
    let value = exact.normalised().times(power);
    let mut upper = upper.times(power);
    let mut lower = lower.times(power);
    lower.significand += 1;
    upper.significand -= 1;
    generate(value, upper, lower, -k, digits)
}

fn generate(value: Scaled, upper: Scaled, lower: Scaled, k: i32, out: &mut [u8; 20]) -> (usize, i32) {
    let distance = upper.significand - value.significand;
    let mut delta = upper.significand - lower.significand;
    let shift = -upper.exponent as u32;
    let one = 1u64 << shift;
    let mut integral = upper.significand >> shift;
    let mut fractional = upper.significand & (one - 1);
    let mut count = 0;
    let mut divisor = 1_000_000_000u64;
    for kappa in (0..10).rev() {
        let digit = integral / divisor;
        if digit != 0 || count != 0 {
            out[count] = b'0' + digit as u8;
            count += 1;
        }
        integral -= digit * divisor;
        let rest = (integral << shift) + fractional;
        if rest <= delta {
            approach(&mut out[count - 1], delta, rest, divisor << shift, distance);
            return (count, k + kappa);
        }
        divisor /= 10;
    }
    let mut kappa = 0;
    let mut unit = 1u64;
    loop {
        fractional *= 10;
        delta *= 10;
        unit *= 10;
        kappa -= 1;
        let digit = fractional >> shift;
        if digit != 0 || count != 0 {
            out[count] = b'0' + digit as u8;
            count += 1;
        }
        fractional &= one - 1;
        if fractional < delta {
            approach(&mut out[count - 1], delta, fractional, one, distance.wrapping_mul(unit));
            return (count, k + kappa);
        }
    }
}

/// Lowers the last digit while that brings the result nearer to the value and keeps it inside the interval.
fn approach(last: &mut u8, delta: u64, mut rest: u64, step: u64, distance: u64) {
    while rest < distance
        && delta - rest >= step
        && (rest + step < distance || distance - rest > rest + step - distance)
    {
        *last -= 1;
        rest += step;
    }
}
