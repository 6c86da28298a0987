//! Berkeley DB's hash `Packages` (rpm's lib/backend/bdb_ro.c; Berkeley DB's dbinc/db_page.h): buckets, each a
//! chain of pages with keys and values; a long value is a chain of overflow pages. Numbers are in the order
//! of the machine that made it. The key is a header's number; number 0 holds the highest one.

use super::{Broken, EachHeader, ReadAt, MAX_HEADER, MAX_PACKAGES};
use crate::read_at::{be32, le32, Metered};

const MAGIC: u32 = 0x0006_1561;
/// Length of a page's header.
const PAGE_HEADER: usize = 26;
// Types of pages.
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
const HASH_META: u8 = 8;
const HASH: u8 = 13;
// Types of items.
const ON_PAGE: u8 = 1;
const OFF_PAGE: u8 = 3;
/// Length of an item that says where the value is.
const OFF_PAGE_LEN: usize = 12;

/// Gives every header to `each`.
///
/// # Errors
/// [`Broken`].
pub fn each_header(database: &dyn ReadAt, each: &mut EachHeader<'_>) -> Result<(), Broken> {
    let database = Database::open(Metered::new(database))?;
    let mut page = vec![0; database.page_size];
    let mut overflow = vec![0; database.page_size];
    let mut blob = Vec::new();
    let mut seen = Seen { pages: 0, packages: 0 };
    for bucket in 0..=database.max_bucket {
        let mut number = database.bucket_page(bucket)?;
        while number != 0 {
            database.page(number, &mut page)?;
            if !matches!(kind(&page), Some(HASH | HASH_UNSORTED | HASH_META)) {
                return Err(Broken::Format("a Berkeley DB bucket that is no hash page"));
            }
            seen.page(&database)?;
            let mut end = database.page_size;
            let items = usize::from(database.u16(&page, 20)?);
            // Items lie from the end of the page down, a key and then its value.
            for pair in 0..items / 2 {
                let key_at = usize::from(database.u16(&page, PAGE_HEADER + 4 * pair)?);
                let value_at = usize::from(database.u16(&page, PAGE_HEADER + 4 * pair + 2)?);
                let key = page.get(key_at..end).ok_or(Broken::Format("a Berkeley DB key off its page"))?;
                let value =
                    page.get(value_at..key_at).ok_or(Broken::Format("a Berkeley DB value off its page"))?;
                end = value_at;
                // The highest number: a key of zeros in either byte order.
                if key == [ON_PAGE, 0, 0, 0, 0] {
                    continue;
                }
                seen.package()?;
                match value.split_first() {
                    Some((&ON_PAGE, value)) => {
                        blob.clear();
                        blob.extend_from_slice(value);
                    }
                    Some((&OFF_PAGE, _)) if value.len() == OFF_PAGE_LEN => {
                        let (first, len) = (database.u32(value, 4)?, database.u32(value, 8)?);
                        database.overflow(first, len as usize, &mut overflow, &mut blob)?;
                    }
                    _ => return Err(Broken::Format("a Berkeley DB value of a kind not known")),
                }
                each(&blob);
            }
            number = database.u32(&page, 16)?;
        }
    }
    Ok(())
}

/// What was come across so far.
struct Seen {
    pages: u64,
    packages: usize,
}

impl Seen {
    /// A chain of pages that leads back into itself passes more pages than there are.
    fn page(&mut self, database: &Database<'_>) -> Result<(), Broken> {
        self.pages += 1;
        match self.pages <= u64::from(database.last_page) {
            true => Ok(()),
            false => Err(Broken::Format("Berkeley DB pages in a circle")),
        }
    }

    fn package(&mut self) -> Result<(), Broken> {
        self.packages += 1;
        match self.packages <= MAX_PACKAGES {
            true => Ok(()),
            false => Err(Broken::Limit("100000 packages")),
        }
    }
}

struct Database<'a> {
    file: Metered<'a>,
    big_endian: bool,
    page_size: usize,
    last_page: u32,
    max_bucket: u32,
    /// For each power of two of buckets, what to add to a bucket's number to get its page's.
    spares: [u32; 32],
}

fn kind(page: &[u8]) -> Option<u8> {
    page.get(25).copied()
}

impl<'a> Database<'a> {
    fn open(file: Metered<'a>) -> Result<Self, Broken> {
        let mut meta = [0; 512];
        file.read(0, &mut meta)?;
        let big_endian = match (le32(&meta, 12), be32(&meta, 12)) {
            (Some(MAGIC), _) => false,
            (_, Some(MAGIC)) => true,
            _ => return Err(Broken::Format("not a Berkeley DB hash")),
        };
        let mut new = Self { file, big_endian, page_size: 0, last_page: 0, max_bucket: 0, spares: [0; 32] };
        if !(8..=10).contains(&new.u32(&meta, 16)?) {
            return Err(Broken::Format("a Berkeley DB hash of a version not known"));
        }
        new.page_size = new.u32(&meta, 20)? as usize;
        if !new.page_size.is_power_of_two() || !(512..=65_536).contains(&new.page_size) {
            return Err(Broken::Format("a Berkeley DB page size that is none"));
        }
        new.last_page = new.u32(&meta, 32)?;
        new.max_bucket = new.u32(&meta, 72)?;
        if new.max_bucket > new.last_page {
            return Err(Broken::Format("more Berkeley DB buckets than pages"));
        }
        let mut spares = [0; 32];
        for (i, spare) in spares.iter_mut().enumerate() {
            *spare = new.u32(&meta, 96 + 4 * i)?;
        }
        new.spares = spares;
        Ok(new)
    }

    fn bucket_page(&self, bucket: u32) -> Result<u32, Broken> {
        // The number of bits that the bucket's number has.
        let doublings = (u32::BITS - bucket.leading_zeros()) as usize;
        let spare = self.spares.get(doublings).copied();
        spare.and_then(|s| s.checked_add(bucket)).ok_or(Broken::Format("a Berkeley DB bucket without a page"))
    }

    fn page(&self, number: u32, into: &mut [u8]) -> Result<(), Broken> {
        if number == 0 || number > self.last_page {
            return Err(Broken::Format("a Berkeley DB page behind the last"));
        }
        self.file.read(u64::from(number) * self.page_size as u64, into)?;
        match self.u32(into, 8)? == number {
            true => Ok(()),
            false => Err(Broken::Format("a Berkeley DB page of another number")),
        }
    }

    fn overflow(&self, first: u32, len: usize, page: &mut [u8], blob: &mut Vec<u8>) -> Result<(), Broken> {
        if len > MAX_HEADER {
            return Err(Broken::Limit("32 MiB in one header"));
        }
        blob.clear();
        let mut number = first;
        while blob.len() < len {
            self.page(number, page)?;
            if kind(page) != Some(OVERFLOW) {
                return Err(Broken::Format("a Berkeley DB value that goes on in no overflow page"));
            }
            let here = usize::from(self.u16(page, 22)?);
            // An empty page would lead nowhere, in a circle for ever.
            let part = page.get(PAGE_HEADER..PAGE_HEADER + here).filter(|p| !p.is_empty());
            let part = part.filter(|p| blob.len() + p.len() <= len);
            blob.extend_from_slice(
                part.ok_or(Broken::Format("a Berkeley DB overflow page of a wrong length"))?,
            );
            number = self.u32(page, 16)?;
        }
        Ok(())
    }

    fn u32(&self, bytes: &[u8], at: usize) -> Result<u32, Broken> {
        let value = if self.big_endian { be32(bytes, at) } else { le32(bytes, at) };
        value.ok_or(Broken::Format("a Berkeley DB page cut short"))
    }

    fn u16(&self, bytes: &[u8], at: usize) -> Result<u16, Broken> {
        let two: Option<[u8; 2]> = bytes.get(at..at + 2).and_then(|two| two.try_into().ok());
        let two = two.ok_or(Broken::Format("a Berkeley DB page cut short"))?;
        Ok(if self.big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
    }
}
