//! Small readings of bytes.

/// Splits a `PT_CHARBUFARRAY` / NUL-separated buffer; a missing last NUL (a cut buffer) loses nothing.
pub fn nul_separated(buf: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let buf = buf.strip_suffix(b"\0").unwrap_or(buf);
    buf.split(|b| *b == 0).filter(move |_| !buf.is_empty())
}

/// Lower-case hex.
pub fn hex(digest: &[u8]) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::with_capacity(64), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argument_buffers_split_at_nul() {
        let all = |b: &'static [u8]| nul_separated(b).collect::<Vec<_>>();
        assert_eq!(all(b""), Vec::<&[u8]>::new());
        assert_eq!(all(b"a\0b\0"), [b"a", b"b"]);
        assert_eq!(all(b"a\0\0b\0"), [&b"a"[..], b"", b"b"]);
        assert_eq!(all(b"a\0cut"), [&b"a"[..], b"cut"]);
    }
}
