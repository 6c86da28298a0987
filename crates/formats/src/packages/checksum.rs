//! The checksum that a package database records of a file.

/// A checksum. Of 32 bytes at most, whatever the database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// dpkg's, and rpm's before 4.6.
    Md5([u8; 16]),
    /// apk's.
    Sha1([u8; 20]),
    /// rpm's and pip's.
    Sha256([u8; 32]),
}

impl Checksum {
    /// A checksum of `N` hexadecimal digits, of the algorithm that has as many.
    pub fn from_hex(hex: &[u8]) -> Option<Self> {
        match hex.len() {
            32 => unhex(hex).map(Self::Md5),
            40 => unhex(hex).map(Self::Sha1),
            64 => unhex(hex).map(Self::Sha256),
            _ => None,
        }
    }

    /// apk's `Z:` value: `Q1` and the SHA-1 in base64 (apk-installed(5)).
    pub(crate) fn from_apk(value: &[u8]) -> Option<Self> {
        unbase64(value.strip_prefix(b"Q1")?).map(Self::Sha1)
    }

    /// The second column of a `RECORD`: `sha256=` and the digest in URL-safe base64 without padding (PEP 376,
    /// PEP 427).
    pub(crate) fn from_record(column: &[u8]) -> Option<Self> {
        unbase64(column.strip_prefix(b"sha256=")?).map(Self::Sha256)
    }
}

fn unhex<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    (hex.len() == N * 2).then_some(out)
}

/// Base64 of either alphabet, padded or not, of exactly `N` bytes.
fn unbase64<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    if text.len() != (N * 4).div_ceil(3) {
        return None;
    }
    let (mut out, mut at, mut bits, mut held) = ([0; N], 0, 0u32, 0);
    for letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        (bits, held) = (bits << 6 | u32::from(value), held + 6);
        if held >= 8 {
            held -= 8;
            *out.get_mut(at)? = u8::try_from(bits >> held & 0xff).ok()?;
            at += 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksums_as_databases_write_them() {
        // Of no bytes at all, by md5sum(1), sha1sum(1) and sha256sum(1).
        let md5 = Checksum::from_hex(b"d41d8cd98f00b204e9800998ecf8427e");
        assert!(matches!(md5, Some(Checksum::Md5([0xd4, 0x1d, ..]))), "{md5:?}");
        let sha1 = Checksum::from_apk(b"Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=");
        assert_eq!(sha1, Checksum::from_hex(b"da39a3ee5e6b4b0d3255bfef95601890afd80709"));
        let sha256 = Checksum::from_record(b"sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        let hex = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256, Checksum::from_hex(hex));
        assert!(sha256.is_some() && sha1.is_some());
    }

    #[test]
    fn anything_else_is_none() {
        for hex in
            [&b""[..], b"d41d", b"g41d8cd98f00b204e9800998ecf8427e", b"+41d8cd98f00b204e9800998ecf8427e"]
        {
            assert_eq!(Checksum::from_hex(hex), None);
        }
        assert_eq!(Checksum::from_apk(b"Q12jmj7l5rSw0yVb"), None);
        assert_eq!(Checksum::from_apk(b"Q22jmj7l5rSw0yVb/vlWAYkK/YBwk="), None);
        assert_eq!(Checksum::from_record(b"md5=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"), None);
    }

    proptest! {
        #[test]
        fn never_panics(raw in prop::collection::vec(any::<u8>(), 0..80), text in "(Q1|sha256=)?[A-Za-z0-9+/=_-]{0,50}") {
            for bytes in [raw.as_slice(), text.as_bytes()] {
                let _ = (Checksum::from_hex(bytes), Checksum::from_apk(bytes), Checksum::from_record(bytes));
            }
        }
    }
}
