//! Changes inputs at random: what a driver without coverage does instead of breeding a corpus.

use skuld::rng::Rng;

/// Inputs do not grow beyond this.
const INPUT_BYTES_MAX: usize = 8192;

/// Makes a few changes to `data`: bits flipped, bytes replaced, pieces removed, repeated or moved, words put in.
pub fn mutate(rng: &mut Rng, data: &mut Vec<u8>, words: &[&[u8]]) {
    for _ in 0..=rng.below(4) {
        let at = |rng: &mut Rng, data: &[u8]| rng.below(data.len() as u64 + 1) as usize;
        let (a, b) = (at(rng, data), at(rng, data));
        let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 64));
        match rng.below(8) {
            0 if from < data.len() => data[from] ^= 1 << rng.below(8),
            1 if from < data.len() => data[from] = rng.next_u64() as u8,
            2 => drop(data.drain(from..to)),
            3 => {
                let piece = data[from..to].to_vec();
                let place = at(rng, data);
                data.splice(place..place, piece);
            }
            4 => data.truncate(from),
            5 if from < data.len() => {
                const EDGES: &[u8] =
                    &[0, 1, 0x7f, 0x80, 0xff, b'\r', b'\n', b'*', b'$', b'-', b'0', b' ', b'"'];
                data[from] = EDGES[rng.below(EDGES.len() as u64) as usize];
            }
            _ if !words.is_empty() => {
                let word = crate::pick(rng, words);
                let end = if crate::one_in(rng, 2) { to } else { from };
                data.splice(from..end, word.iter().copied());
            }
            _ => data.push(rng.next_u64() as u8),
        }
        data.truncate(INPUT_BYTES_MAX);
    }
}
