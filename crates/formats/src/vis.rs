//! The escapes that mtree files use in names: vis(3) and plain octal.

/// Escapes what a line of words cannot hold, and what a terminal would act on: everything but printable
/// ASCII, and of that space, backslash, `#`, `=` and what a shell expands.
pub(crate) fn vis(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for byte in raw {
        match byte {
            b'\\' | b'#' | b'=' | b'*' | b'?' | b'[' => {
                out.extend_from_slice(format!("\\{byte:03o}").as_bytes())
            }
            byte if byte.is_ascii_graphic() => out.push(*byte),
            byte => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
    out
}

/// Undoes vis(3): `\040`, `\s`, `\n`, `\^A`, `\M-a`, `\M^A`, `\\`, `\#`.
///
/// `None` where a backslash is followed by nothing that vis(3) writes, or by an octal number over `\377`.
pub(crate) fn unvis(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (decoded, after) = escape(rest)?;
        out.extend(decoded);
        rest = after;
    }
    Some(out)
}

/// One escape, after its backslash: the byte it stands for (none for a hidden newline) and what follows.
fn escape(rest: &[u8]) -> Option<(Option<u8>, &[u8])> {
    let (byte, after) = rest.split_first()?;
    Some(match (byte, after) {
        (b'0'..=b'7', _) => {
            let digits = rest.iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            let (octal, after) = rest.split_at_checked(digits)?;
            let value = octal.iter().fold(0u32, |v, d| v * 8 + u32::from(d - b'0'));
            // A lone \0 is how C style writes NUL; no file name has one, and the path check says so.
            (Some(u8::try_from(value).ok()?), after)
        }
        (b'M', [b'-', c, after @ ..]) => (Some(c | 0x80), after),
        (b'M', [b'^', c, after @ ..]) => (Some(control(*c) | 0x80), after),
        (b'^', [c, after @ ..]) => (Some(control(*c)), after),
        (b'a', _) => (Some(0x07), after),
        (b'b', _) => (Some(0x08), after),
        (b't', _) => (Some(b'\t'), after),
        (b'n', _) => (Some(b'\n'), after),
        (b'v', _) => (Some(0x0b), after),
        (b'f', _) => (Some(0x0c), after),
        (b'r', _) => (Some(b'\r'), after),
        (b's', _) => (Some(b' '), after),
        (b'E', _) => (Some(0x1b), after),
        (b'$', _) => (None, after),
        (c, _) if c.is_ascii_graphic() && !c.is_ascii_alphanumeric() && *c != b'^' => (Some(*c), after),
        _ => return None,
    })
}

fn control(c: u8) -> u8 {
    if c == b'?' {
        0x7f
    } else {
        c & 0x1f
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_of_vis() {
        let rows: &[(&[u8], Option<&[u8]>)] = &[
            (b"plain", Some(b"plain")),
            (b"a\\040b", Some(b"a b")),
            (b"a\\sb\\tc", Some(b"a b\tc")),
            (b"\\303\\274", Some("ü".as_bytes())),
            (b"\\377\\0011", Some(b"\xff\x011")),
            (b"\\0", Some(b"\0")),
            (b"\\\\", Some(b"\\")),
            (b"\\#\\*", Some(b"#*")),
            (b"\\^A\\^?", Some(b"\x01\x7f")),
            (b"\\M-a", Some(b"\xe1")),
            (b"\\M^A\\M^?", Some(b"\x81\xff")),
            (b"x\\$y", Some(b"xy")),
            (b"\\400", None),
            (b"\\", None),
            (b"\\M", None),
            (b"\\Mx", None),
            (b"\\^", None),
            (b"\\q", None),
            (b"\\9", None),
        ];
        for (raw, want) in rows {
            assert_eq!(unvis(raw).as_deref(), *want, "{}", String::from_utf8_lossy(raw));
        }
    }

    proptest! {
        #[test]
        fn octal_comes_back(name in prop::collection::vec(any::<u8>(), 0..64)) {
            let written: String = name.iter().map(|b| format!("\\{b:03o}")).collect();
            prop_assert_eq!(unvis(written.as_bytes()), Some(name));
        }

        #[test]
        fn escaped_names_come_back(name in prop::collection::vec(any::<u8>(), 0..64)) {
            let written = vis(&name);
            prop_assert!(written.iter().all(u8::is_ascii_graphic));
            prop_assert_eq!(unvis(&written), Some(name));
        }

        #[test]
        fn never_panics(raw in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = unvis(&raw);
        }
    }
}
