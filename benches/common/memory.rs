//! What this process takes: resident pages, and what the allocator says is in use.

/// Resident memory of this process, MiB.
pub fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0 / f64::from(1 << 20)
}

/// Heap in use, MiB, of all threads; the rest of what is resident is free and kept by the allocator, or no heap.
pub fn in_use() -> f64 {
    // SAFETY: reads the allocator's counters.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as f64 / f64::from(1 << 20)
}
