//! The average time to live that INFO shows.

use crate::eviction::sample;
use crate::keyspace::Database;
use crate::rng::Rng;

/// Entries looked at.
const SAMPLE: usize = 64;

/// Mean remaining time of the keys with a deadline that is not over, of a sample, milliseconds; 0 if there are none.
pub fn average_ttl(database: &Database, index: u16, now: i64, rng: &mut Rng) -> i64 {
    let (mut sum, mut count) = (0i128, 0);
    sample(database, index, SAMPLE, true, rng, &mut |entry| {
        if let Some(left) = entry.expiry().map(|deadline| deadline - now).filter(|left| *left > 0) {
            sum += i128::from(left);
            count += 1;
        }
    });
    if count == 0 { 0 } else { (sum / count) as i64 }
}
