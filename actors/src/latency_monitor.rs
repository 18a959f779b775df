//! The latency monitor: slow events of the server over time (LATENCY HISTORY, LATEST, GRAPH, DOCTOR).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock;

/// Samples kept per event.
pub const SAMPLES_MAX: usize = 160;

/// What happened to one kind of event.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Unix seconds and milliseconds, oldest first; one sample a second, the worst.
    pub samples: VecDeque<(i64, u64)>,
    /// Worst of all time, milliseconds.
    pub max_ms: u64,
    /// All milliseconds of all samples ever.
    pub sum_ms: u64,
    /// How many there were.
    pub count: u64,
}

impl Series {
    fn add(&mut self, now_s: i64, ms: u64) {
        self.max_ms = self.max_ms.max(ms);
        self.sum_ms += ms;
        self.count += 1;
        match self.samples.back_mut() {
            Some((at, worst)) if *at == now_s => *worst = (*worst).max(ms),
            _ => {
                if self.samples.len() == SAMPLES_MAX {
                    self.samples.pop_front();
                }
                self.samples.push_back((now_s, ms));
            }
        }
    }
}

/// All events.
#[derive(Debug, Default)]
pub struct LatencyMonitor(Mutex<BTreeMap<&'static str, Series>>);

impl LatencyMonitor {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a sample; the caller compares with `latency-monitor-threshold`.
    pub fn add(&self, event: &'static str, ms: u64) {
        self.lock().entry(event).or_default().add(clock::unix_ms() / 1000, ms);
    }

    pub fn get(&self, event: &[u8]) -> Option<Series> {
        self.lock()
            .iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(event))
            .map(|(_, s)| s.clone())
    }

    pub fn all(&self) -> Vec<(&'static str, Series)> {
        self.lock().iter().map(|(name, series)| (*name, series.clone())).collect()
    }

    /// Forgets these events, or all if none is named. How many there were.
    pub fn reset(&self, events: &[Vec<u8>]) -> usize {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|name, _| {
            !events.is_empty() && !events.iter().any(|e| e.eq_ignore_ascii_case(name.as_bytes()))
        });
        before - all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_a_second_and_the_worst_of_it() {
        let mut series = Series::default();
        for (at, ms) in [(1, 5), (1, 9), (1, 2), (2, 3)] {
            series.add(at, ms);
        }
        assert_eq!(series.samples, [(1, 9), (2, 3)]);
        assert_eq!((series.max_ms, series.sum_ms, series.count), (9, 19, 4));
        (10..500).for_each(|at| series.add(at, 1));
        assert_eq!(series.samples.len(), SAMPLES_MAX);
    }

    #[test]
    fn resetting_names_events() {
        let monitor = LatencyMonitor::default();
        monitor.add("command", 3);
        monitor.add("fast-command", 3);
        assert_eq!(monitor.reset(&[b"COMMAND".to_vec(), b"x".to_vec()]), 1);
        assert_eq!(monitor.reset(&[]), 1);
        assert!(monitor.all().is_empty());
    }
}
