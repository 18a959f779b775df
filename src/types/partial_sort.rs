//! Sorting only as much as is shown. The order of equal elements is part of Valkey's replies, so this follows the same
//! published algorithm step by step (Bentley and McIlroy, "Engineering a Sort Function", 1993), leaving out parts that
//! do not reach into the wanted range.

use std::cmp::Ordering;
use std::ops::Range;

/// Sorts so far that the elements of `wanted` are those a full sort would put there, in order. Where they are equal
/// their order depends on all elements. The range must lie within the slice.
pub fn sort_range<T>(items: &mut [T], wanted: Range<usize>, compare: &mut dyn FnMut(&T, &T) -> Ordering) {
    debug_assert!(wanted.end <= items.len());
    if !wanted.is_empty() {
        quicksort(items, wanted, compare);
    }
}

/// `wanted` counts from the start of `items`, to which it may not be confined.
fn quicksort<T>(items: &mut [T], wanted: Range<usize>, compare: &mut dyn FnMut(&T, &T) -> Ordering) {
    let n = items.len();
    if n < 7 {
        for i in 1..n {
            let mut j = i;
            while j > 0 && compare(&items[j - 1], &items[j]) == Ordering::Greater {
                items.swap(j - 1, j);
                j -= 1;
            }
        }
        return;
    }
    let pivot = choose_pivot(items, compare);
    items.swap(0, pivot);
    let (less, greater) = partition(items, compare);
    if less > 1 && wanted.start < less {
        quicksort(&mut items[..less], wanted.clone(), compare);
    }
    if greater > 1 && wanted.end > n - greater {
        let from = n - greater;
        let wanted = wanted.start.saturating_sub(from)..wanted.end - from;
        quicksort(&mut items[from..], wanted, compare);
    }
}

fn choose_pivot<T>(items: &[T], compare: &mut dyn FnMut(&T, &T) -> Ordering) -> usize {
    let n = items.len();
    let (mut low, mut middle, mut high) = (0, n / 2, n - 1);
    if n == 7 {
        return middle;
    }
    if n > 40 {
        let step = n / 8;
        low = median(items, [low, low + step, low + 2 * step], compare);
        middle = median(items, [middle - step, middle, middle + step], compare);
        high = median(items, [high - 2 * step, high - step, high], compare);
    }
    median(items, [low, middle, high], compare)
}

fn median<T>(items: &[T], [a, b, c]: [usize; 3], compare: &mut dyn FnMut(&T, &T) -> Ordering) -> usize {
    let mut is = |x: usize, ordering, y: usize| compare(&items[x], &items[y]) == ordering;
    if is(a, Ordering::Less, b) {
        if is(b, Ordering::Less, c) {
            b
        } else if is(a, Ordering::Less, c) {
            c
        } else {
            a
        }
    } else if is(b, Ordering::Greater, c) {
        b
    } else if is(a, Ordering::Less, c) {
        a
    } else {
        c
    }
}

/// Splits around the first element: smaller ones, equal ones, greater ones. Returns how many are smaller and greater.
/// Equal ones gather at both ends first and are swapped to the middle at last.
fn partition<T>(items: &mut [T], compare: &mut dyn FnMut(&T, &T) -> Ordering) -> (usize, usize) {
    let n = items.len();
    // Equal below `a`, smaller from there below `b`; greater above `c` up to `d`, equal above `d`. `c` and `d` are one
    // more than the index they stand for, so that they can reach the beginning.
    let (mut a, mut b, mut c, mut d) = (1, 1, n, n);
    loop {
        while b < c {
            match compare(&items[b], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(a, b);
                    a += 1;
                }
                Ordering::Less => {}
            }
            b += 1;
        }
        while b < c {
            match compare(&items[c - 1], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    items.swap(c - 1, d - 1);
                    d -= 1;
                }
                Ordering::Greater => {}
            }
            c -= 1;
        }
        if b >= c {
            break;
        }
        items.swap(b, c - 1);
        b += 1;
        c -= 1;
    }
    let (less, greater) = (b - a, d - c);
    let moved = a.min(less);
    swap_blocks(items, 0, b - moved, moved);
    let moved = greater.min(n - d);
    swap_blocks(items, b, n - moved, moved);
    (less, greater)
}

fn swap_blocks<T>(items: &mut [T], from: usize, to: usize, len: usize) {
    for i in 0..len {
        items.swap(from + i, to + i);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_wanted_range_is_that_of_a_full_sort() {
        let seed = 3;
        let mut rng = Rng::new(seed);
        for round in 0..2000 {
            let len = 1 + rng.below(120) as usize;
            let different = 1 + rng.below(60);
            let items: Vec<u64> = (0..len).map(|_| rng.below(different)).collect();
            let start = rng.below(len as u64) as usize;
            let end = start + rng.below((len - start) as u64 + 1) as usize;
            let (mut partly, mut fully) = (items.clone(), items.clone());
            sort_range(&mut partly, start..end, &mut |a, b| a.cmp(b));
            fully.sort_unstable();
            let context = format!("seed {seed} round {round}: {items:?} {start}..{end}");
            assert_eq!(partly[start..end], fully[start..end], "{context}");
            partly.sort_unstable();
            assert_eq!(partly, fully, "nothing is lost: {context}");
        }
    }
}
