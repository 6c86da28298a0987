//! Compiled Python modules (`__pycache__/*.pyc`): the header, and the names that the code in them uses.
//!
//! Format: CPython `Lib/importlib/_bootstrap_external.py` (header, PEP 552) and `Python/marshal.c` (code
//! objects), as of 3.7 to 3.14. Whoever writes a file can copy a header; the code cannot use what the source
//! does not name. So a module is believed to be compiled from its source only if every name that its code
//! reads, calls or imports stands in that source ([`names_missing_from`]).
//!
//! Invariants: objects, depth and names are bounded; nothing of the code is interpreted.

use std::collections::HashSet;

/// Bytes of a header since Python 3.7.
pub(crate) const HEADER: usize = 16;
/// Deepest nesting of objects; CPython's own bound is 2,000.
const MAX_DEPTH: usize = 200;
/// Most objects in one module.
const MAX_OBJECTS: usize = 2_000_000;

/// Magic numbers of 3.7 to 3.14 (`Include/internal/pycore_magic_number.h`).
const KNOWN: std::ops::RangeInclusive<u16> = 3390..=3649;
const SINCE_3_8: u16 = 3400;
const SINCE_3_11: u16 = 3450;

/// What a header says of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceStamp {
    /// Compiled from a source with this modification time (seconds, the lower 32 bits) and size.
    Timestamp {
        /// Modification time.
        mtime: u32,
        /// Size in bytes, the lower 32 bits.
        size: u32,
    },
    /// By a hash of the source, which Python may be told not to check.
    Hash,
}

/// Reads a header; `None` if these bytes are not one.
pub fn header(bytes: &[u8]) -> Option<SourceStamp> {
    // The last two bytes of the magic number are a line end, so that a copy as text shows
    // (`_bootstrap_external.py`).
    let (magic, rest) = (bytes.get(..4)?, bytes.get(4..HEADER)?);
    if magic.get(2..)? != b"\r\n" {
        return None;
    }
    let word = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    match word(0)? {
        0 => Some(SourceStamp::Timestamp { mtime: word(4)?, size: word(8)? }),
        1 | 3 => Some(SourceStamp::Hash),
        _ => None,
    }
}

/// The source's name for a compiled module's: `json.cpython-311.opt-1.pyc` is compiled from `json.py`.
pub fn source_name(compiled: &[u8]) -> Option<Vec<u8>> {
    let stem = compiled.strip_suffix(b".pyc")?;
    let dot = stem.iter().position(|b| *b == b'.')?;
    let (module, tag) = (stem.get(..dot)?, stem.get(dot + 1..)?);
    let known = [&b"cpython-"[..], b"pypy", b"graalpy"].iter().any(|name| tag.starts_with(name));
    (known && !module.is_empty()).then(|| [module, b".py"].concat())
}

/// Names that every compiled module may use whatever its source says: the compiler puts them there.
const COMPILERS: &[&[u8]] = &[
    b"__annotate__",
    b"__annotate_func__",
    b"__annotations__",
    b"__build_class__",
    b"__class__",
    b"__classcell__",
    b"__classdict__",
    b"__classdictcell__",
    b"__conditional_annotations__",
    b"__debug__",
    b"__doc__",
    b"__firstlineno__",
    b"__generic_base",
    b"__module__",
    b"__name__",
    b"__qualname__",
    b"__static_attributes__",
    b"__type_params__",
    b"AssertionError",
    b"StopAsyncIteration",
];

/// The first name that the code of a compiled module uses and its source does not have; `None` if there is no
/// such name.
///
/// # Errors
/// The module's code cannot be followed: it is malformed, too deep, or of a version that is not known.
pub fn names_missing_from(source: &[u8], compiled: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80;
    let words: HashSet<&[u8]> = source.split(|b| !is_word(b)).filter(|w| !w.is_empty()).collect();
    let names = Reader::read(compiled)?;
    let stands = |name: &[u8]| {
        // `import a.b` is one name; `__x` in class `C` is `_C__x`.
        let mangled = || {
            let at = name.windows(2).skip(1).position(|two| two == b"__").map(|at| at + 1);
            at.and_then(|at| name.get(at..)).is_some_and(|private| words.contains(private))
        };
        COMPILERS.contains(&name)
            || name.split(|b| *b == b'.').all(|part| part.is_empty() || words.contains(part))
            || (name.starts_with(b"_") && mangled())
    };
    Ok(names.into_iter().find(|name| !stands(name)))
}

/// Why a module's code cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("compiled Python module: {0}")]
pub struct Malformed(&'static str);

/// An object, as far as it matters.
#[derive(Debug, Clone)]
enum Object {
    Text(Vec<u8>),
    Tuple(Vec<Object>),
    Other,
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// The magic number, which grows with each change of the format.
    version: u16,
    at: usize,
    /// Objects that later ones may refer to.
    kept: Vec<Object>,
    objects: usize,
    names: Vec<Vec<u8>>,
}

impl<'a> Reader<'a> {
    fn read(compiled: &'a [u8]) -> Result<Vec<Vec<u8>>, Malformed> {
        let version = compiled.get(..2).and_then(|two| Some(u16::from_le_bytes(two.try_into().ok()?)));
        let version = version.filter(|v| KNOWN.contains(v)).ok_or(Malformed("not of CPython 3.7 to 3.14"))?;
        let bytes = compiled.get(HEADER..).ok_or(Malformed("no code"))?;
        let mut this = Self { bytes, version, at: 0, kept: Vec::new(), objects: 0, names: Vec::new() };
        this.object(0)?;
        match this.at == bytes.len() {
            true => Ok(this.names),
            false => Err(Malformed("bytes after the code")),
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(n).ok_or(Malformed("cut"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed("cut"))?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn long(&mut self) -> Result<usize, Malformed> {
        let four: [u8; 4] = self.take(4)?.try_into().map_err(|_| Malformed("cut"))?;
        usize::try_from(i32::from_le_bytes(four)).map_err(|_| Malformed("a negative length"))
    }

    /// `Python/marshal.c`, `r_object`.
    fn object(&mut self, depth: usize) -> Result<Object, Malformed> {
        const REFERABLE: u8 = 0x80;
        self.objects += 1;
        if depth > MAX_DEPTH || self.objects > MAX_OBJECTS {
            return Err(Malformed("too many or too deep objects"));
        }
        let first = self.byte()?;
        // An object gets its number before what it holds.
        let slot = (first & REFERABLE != 0).then(|| {
            self.kept.push(Object::Other);
            self.kept.len() - 1
        });
        let object = match first & !REFERABLE {
            b'0' | b'N' | b'F' | b'T' | b'S' | b'.' => Object::Other,
            b'i' => self.skip(4)?,
            b'I' | b'g' => self.skip(8)?,
            b'y' => self.skip(16)?,
            b'f' => {
                let n = self.byte()?;
                self.skip(n.into())?
            }
            b'x' => {
                for _ in 0..2 {
                    let n = self.byte()?;
                    self.skip(n.into())?;
                }
                Object::Other
            }
            b'l' => {
                let four: [u8; 4] = self.take(4)?.try_into().map_err(|_| Malformed("cut"))?;
                let digits = i32::from_le_bytes(four).unsigned_abs() as usize;
                self.skip(digits.checked_mul(2).ok_or(Malformed("cut"))?)?
            }
            b's' | b'a' | b'A' | b'u' | b't' => {
                let n = self.long()?;
                Object::Text(self.take(n)?.to_vec())
            }
            b'z' | b'Z' => {
                let n = self.byte()?;
                Object::Text(self.take(n.into())?.to_vec())
            }
            b')' => {
                let n = self.byte()?;
                self.several(n.into(), depth)?
            }
            b'(' | b'[' | b'<' | b'>' => {
                let n = self.long()?;
                self.several(n, depth)?
            }
            b'{' => {
                while self.bytes.get(self.at) != Some(&b'0') {
                    self.object(depth + 1)?;
                    self.object(depth + 1)?;
                }
                self.skip(1)?
            }
            b':' => {
                for _ in 0..3 {
                    self.object(depth + 1)?;
                }
                Object::Other
            }
            b'r' => {
                let n = self.long()?;
                self.kept.get(n).cloned().ok_or(Malformed("a reference to nothing"))?
            }
            b'c' => self.code(depth)?,
            _ => return Err(Malformed("an object of unknown type")),
        };
        if let Some(kept) = slot.and_then(|slot| self.kept.get_mut(slot)) {
            // Large tuples are constants, never names: not worth a copy.
            if !matches!(&object, Object::Tuple(items) if items.len() > 4096) {
                kept.clone_from(&object);
            }
        }
        Ok(object)
    }

    fn skip(&mut self, n: usize) -> Result<Object, Malformed> {
        self.take(n).map(|_| Object::Other)
    }

    fn several(&mut self, n: usize, depth: usize) -> Result<Object, Malformed> {
        let mut items = Vec::new();
        for _ in 0..n {
            items.push(self.object(depth + 1)?);
        }
        Ok(Object::Tuple(items))
    }

    /// Numbers, then code, constants, names, four more tuples or texts and a text, a number, and tables.
    ///
    /// Since 3.11: 5 numbers and two tables; 3.8 to 3.10: 6 numbers and one table; before: 5 and one.
    fn code(&mut self, depth: usize) -> Result<Object, Malformed> {
        let (numbers, tables) = match self.version {
            ..SINCE_3_8 => (5, 1),
            SINCE_3_8..SINCE_3_11 => (6, 1),
            SINCE_3_11.. => (5, 2),
        };
        self.skip(numbers * 4)?;
        let Object::Text(_) = self.object(depth + 1)? else { return Err(Malformed("code is not bytes")) };
        let Object::Tuple(_) = self.object(depth + 1)? else {
            return Err(Malformed("constants are not a tuple"));
        };
        let Object::Tuple(names) = self.object(depth + 1)? else {
            return Err(Malformed("names are not a tuple"));
        };
        for name in names {
            let Object::Text(name) = name else { return Err(Malformed("a name is not a text")) };
            self.names.push(name);
        }
        for _ in 0..5 {
            self.object(depth + 1)?;
        }
        self.skip(4)?;
        for _ in 0..tables {
            let Object::Text(_) = self.object(depth + 1)? else {
                return Err(Malformed("a table is not bytes"));
            };
        }
        Ok(Object::Other)
    }
}

#[cfg(test)]
#[path = "python_bytecode_tests.rs"]
mod tests;
