//! Simulated clusters in rough weather: packets lost, late and repeated, nodes that crash, partitions, clocks that differ.
//! Here against optimised code, so that many seeds are tried; what is checked stands in `skuld::cluster::simulation`.
//!
//! `SKULD_SIMULATION_SEEDS` seeds (default 2,000) from `SKULD_SIMULATION_SEED` on; one of them alone replays a failure.

use std::sync::atomic::{AtomicU64, Ordering};

use skuld::cluster::simulation::rough_weather;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn many_clusters_come_through_rough_weather() {
    let first = setting("SKULD_SIMULATION_SEED", 1);
    let end = first + setting("SKULD_SIMULATION_SEEDS", 2000);
    let next = AtomicU64::new(first);
    let begin = std::time::Instant::now();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let _named = Named(seed);
                    rough_weather(seed);
                }
            });
        }
    });
    println!("seeds {first} to {}: {:.1} s", end - 1, begin.elapsed().as_secs_f64());
}

/// Names the seed if the simulation panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SKULD_SIMULATION_SEED={} SKULD_SIMULATION_SEEDS=1", self.0);
        }
    }
}
