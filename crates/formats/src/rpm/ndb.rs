//! ndb's `Packages.db` (rpm's lib/backend/ndb/rpmpkg.c): slots of 16 bytes that say where the headers are,
//! then the headers, each between a head of 16 and a tail of 12 bytes. Numbers are little-endian.

use super::{Broken, EachHeader, ReadAt, MAX_HEADER, MAX_PACKAGES};
use crate::read_at::{le32, Metered};

const PAGE: usize = 4096;
const SLOT: usize = 16;
const BLOCK: u64 = 16;
/// The header of the file takes the place of two slots.
const FILE_HEADER: usize = 32;
const HEAD: usize = 16;
const TAIL: usize = 12;

/// Gives every header to `each`.
///
/// # Errors
/// [`Broken`].
pub fn each_header(database: &dyn ReadAt, each: &mut EachHeader<'_>) -> Result<(), Broken> {
    let database = Metered::new(database);
    let mut page = vec![0; PAGE];
    database.read(0, page.get_mut(..FILE_HEADER).unwrap_or_default())?;
    if !page.starts_with(b"RpmP") {
        return Err(Broken::Format("not an ndb database"));
    }
    if le32(&page, 4) != Some(0) {
        return Err(Broken::Format("an ndb database of a version not known"));
    }
    let pages = le32(&page, 12).unwrap_or_default();
    let mut blob = Vec::new();
    let mut packages = 0;
    for number in 0..u64::from(pages) {
        database.read(number * PAGE as u64, &mut page)?;
        let first = if number == 0 { FILE_HEADER } else { 0 };
        for slot in page.get(first..).unwrap_or_default().chunks_exact(SLOT) {
            if !slot.starts_with(b"Slot") {
                return Err(Broken::Format("an ndb slot without its mark"));
            }
            let (Some(package), Some(block), Some(blocks)) = (le32(slot, 4), le32(slot, 8), le32(slot, 12))
            else {
                continue;
            };
            // A free slot.
            if block == 0 {
                continue;
            }
            packages += 1;
            if packages > MAX_PACKAGES {
                return Err(Broken::Limit("100000 packages"));
            }
            read_blob(&database, package, block, blocks, &mut blob)?;
            each(&blob);
        }
    }
    Ok(())
}

fn read_blob(
    database: &Metered<'_>,
    package: u32,
    block: u32,
    blocks: u32,
    blob: &mut Vec<u8>,
) -> Result<(), Broken> {
    let at = u64::from(block) * BLOCK;
    let mut head = [0; HEAD];
    database.read(at, &mut head)?;
    if !head.starts_with(b"BlbS") || le32(&head, 4) != Some(package) {
        return Err(Broken::Format("an ndb slot that points at no header of its package"));
    }
    let len = le32(&head, 12).unwrap_or_default() as usize;
    if len > MAX_HEADER {
        return Err(Broken::Limit("32 MiB in one header"));
    }
    let whole = u64::from(blocks) * BLOCK;
    if whole != ((HEAD + len + TAIL) as u64).next_multiple_of(BLOCK) {
        return Err(Broken::Format("an ndb header of another length than its slot says"));
    }
    blob.clear();
    database.append(at + HEAD as u64, len, blob)?;
    let mut tail = [0; TAIL];
    database.read(at + whole - TAIL as u64, &mut tail)?;
    // The first word is a checksum, which rpm does not look at either when it reads.
    if le32(&tail, 4) != Some(len as u32) || !tail.ends_with(b"BlbE") {
        return Err(Broken::Format("an ndb header without its tail"));
    }
    Ok(())
}
