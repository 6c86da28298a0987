//! What the workers' tables take when they are full: see docs/performance.md.

use super::{files, libraries, packages, settings};

/// What the allocator adds to a block.
pub(crate) const BLOCK: usize = 16;
/// A path of usual length as a block of its own.
pub(crate) const PATH: usize = 48 + BLOCK;

/// A table of `lru`: a block for each entry with two neighbours, and two words and a byte for each of a power
/// of two places.
pub(crate) const fn lru(bound: usize, entry: usize) -> usize {
    bound * (entry + 2 * size_of::<usize>() + BLOCK) + (bound * 8 / 7).next_power_of_two() * 17
}

/// A hash table.
pub(crate) const fn hashed(bound: usize, entry: usize) -> usize {
    (bound * 8 / 7).next_power_of_two() * (entry + 1)
}

/// Each table, and its bytes when it is full.
pub(crate) fn tables() -> Vec<(&'static str, usize)> {
    let mut tables = files::tables().to_vec();
    tables.push(("libraries waiting", libraries::bytes_when_full()));
    tables.push(("environments waiting", settings::MAX_BYTES));
    tables.extend(packages::tables());
    tables
}
