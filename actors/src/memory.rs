//! The allocator, counted. Each thread adds to counters of its own; reading sums them, so `used_memory` is exact to
//! the allocation without a shared cache line on the hot path.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

use tikv_jemallocator::Jemalloc;

/// jemalloc, with every block's usable size counted.
pub struct CountingAllocator;

/// A thread's counter. Leaked and linked, so that memory freed after its thread ended still counts.
struct Counter {
    bytes: AtomicI64,
    next: AtomicPtr<Counter>,
}

static COUNTERS: AtomicPtr<Counter> = AtomicPtr::new(std::ptr::null_mut());
/// What is counted before a thread has its counter, and after it lost it.
static ELSEWHERE: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static MINE: Cell<*const Counter> = const { Cell::new(std::ptr::null()) };
}

#[inline]
fn count(by: i64) {
    let counted = MINE.try_with(|mine| {
        let counter = mine.get();
        if counter.is_null() {
            return false;
        }
        // SAFETY: counters are leaked, so the pointer stays valid.
        let bytes = unsafe { &(*counter).bytes };
        // Single writer: no locked instruction needed.
        bytes.store(bytes.load(Ordering::Relaxed) + by, Ordering::Relaxed);
        true
    });
    if counted != Ok(true) {
        ELSEWHERE.fetch_add(by, Ordering::Relaxed);
    }
}

/// Gives the calling thread a counter of its own. Threads that never call it share one.
pub fn register_thread() {
    let counter = Box::into_raw(Box::new(Counter {
        bytes: AtomicI64::new(0),
        next: AtomicPtr::new(std::ptr::null_mut()),
    }));
    let mut head = COUNTERS.load(Ordering::Acquire);
    loop {
        // SAFETY: the counter was just leaked and is not shared yet.
        unsafe { (*counter).next.store(head, Ordering::Relaxed) };
        match COUNTERS.compare_exchange(head, counter, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break,
            Err(now) => head = now,
        }
    }
    MINE.with(|mine| mine.set(counter));
}

/// Bytes allocated and not freed, by usable size.
pub fn used() -> u64 {
    let mut sum = ELSEWHERE.load(Ordering::Relaxed);
    let mut at = COUNTERS.load(Ordering::Acquire);
    while !at.is_null() {
        // SAFETY: counters are leaked.
        let counter = unsafe { &*at };
        sum += counter.bytes.load(Ordering::Relaxed);
        at = counter.next.load(Ordering::Relaxed);
    }
    sum.max(0) as u64
}

/// What the allocator is called.
pub const ALLOCATOR_NAME: &str = "jemalloc-5.3.1";

/// The allocator's own figures, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocatorStats {
    pub allocated: u64,
    pub active: u64,
    pub resident: u64,
}

/// Asks the allocator; all 0 if it does not say.
pub fn allocator_stats() -> AllocatorStats {
    use tikv_jemalloc_ctl::{epoch, stats};
    let read = || {
        epoch::advance()?;
        Ok::<_, tikv_jemalloc_ctl::Error>(AllocatorStats {
            allocated: stats::allocated::read()? as u64,
            active: stats::active::read()? as u64,
            resident: stats::resident::read()? as u64,
        })
    };
    read().unwrap_or_default()
}

/// Resident memory of the process, bytes.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: sysconf has no preconditions.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(0) as u64
}

/// Gives unused pages back to the system; false if the allocator refuses.
pub fn purge() -> bool {
    // The number that stands for all arenas (MALLCTL_ARENAS_ALL).
    const PURGE_ALL: &[u8] = b"arena.4096.purge\0";
    // SAFETY: this control takes and returns nothing.
    unsafe {
        tikv_jemalloc_sys::mallctl(
            PURGE_ALL.as_ptr().cast(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
        ) == 0
    }
}

/// Lets the allocator give back pages from threads of its own, or not (`jemalloc-bg-thread`).
pub fn run_background_threads(on: bool) {
    // An allocator built without them goes on without.
    let _ = tikv_jemalloc_ctl::background_thread::write(on);
}

/// The allocator's report.
pub fn report() -> String {
    use tikv_jemalloc_ctl::stats_print::{Options, stats_print};
    let mut text = Vec::new();
    match stats_print(&mut text, Options::default()) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(e) => format!("The allocator gave no report: {e}"),
    }
}

/// The size class jemalloc rounds a request up to: multiples of 16 up to 128 (8 below 8), then four classes per
/// doubling, then whole pages. The same computation as its `nallocx`, without the call.
#[inline]
fn usable(layout: Layout) -> i64 {
    let size = layout.size().max(1);
    let class = if size <= 8 {
        8
    } else if size <= 128 {
        (size + 15) & !15
    } else if size > 32 << 10 {
        (size + 4095) & !4095
    } else {
        let log = usize::BITS - (size - 1).leading_zeros();
        let step = 1usize << (log - 3);
        (size + step - 1) & !(step - 1)
    };
    class as i64
}

// SAFETY: every call is passed on to jemalloc unchanged; counting touches no memory of the block.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(usable(layout));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(usable(layout));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-usable(layout));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises a valid new size for this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        count(usable(new) - usable(layout));
        // SAFETY: the caller's promises are passed on.
        unsafe { Jemalloc.realloc(ptr, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_those_of_jemalloc() {
        for size in (1..5000).chain((14000..40000).step_by(501).chain([
            49_000,
            60_000,
            65_536,
            65_537,
            70_000,
            100_001,
            1 << 20,
            (1 << 20) + 1,
            5_000_000,
        ])) {
            let layout = Layout::from_size_align(size, 8).expect("valid");
            // SAFETY: a fresh allocation, freed with the same layout.
            let real = unsafe {
                let p = Jemalloc.alloc(layout);
                let n = libc::malloc_usable_size(p.cast());
                Jemalloc.dealloc(p, layout);
                n
            };
            assert_eq!(usable(layout) as usize, real, "size {size}");
        }
    }
}
