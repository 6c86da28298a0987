//! The texts of the table: `$` is the case's directory in the image, `$V` that on the volume, `$T` that on
//! the tmpfs, `$I` the case's id; `\xNN` is a byte, `\_` a space; `<N:text>` is the text N times.

/// Replaces what stands for something else.
pub(crate) fn expand(id: &str, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        rest = match first {
            '$' => {
                let (place, after) = match after.chars().next() {
                    Some('V') => (format!("/vol/{id}"), after.get(1..).unwrap_or_default()),
                    Some('T') => (format!("/scratch/{id}"), after.get(1..).unwrap_or_default()),
                    Some('I') => (id.to_owned(), after.get(1..).unwrap_or_default()),
                    _ => (format!("/etc/case/{id}"), after),
                };
                out.extend(place.into_bytes());
                after
            }
            '\\' if after.starts_with('_') => {
                out.push(b' ');
                after.get(1..).unwrap_or_default()
            }
            '\\' if after.starts_with('x') => {
                let digits = after.get(1..3).unwrap_or_default();
                out.extend(u8::from_str_radix(digits, 16));
                after.get(3..).unwrap_or_default()
            }
            '<' => match repeated(id, after) {
                Some((bytes, after)) => {
                    out.extend(bytes);
                    after
                }
                None => {
                    out.push(b'<');
                    after
                }
            },
            _ => {
                out.extend(first.to_string().into_bytes());
                after
            }
        };
    }
    out
}

/// `N:text>` and what comes after it.
fn repeated<'a>(id: &str, text: &'a str) -> Option<(Vec<u8>, &'a str)> {
    let (count, rest) = text.split_once(':')?;
    let count: usize = count.parse().ok()?;
    let mut depth = 1;
    let end = rest.find(|c| {
        depth += match c {
            '<' => 1,
            '>' => -1,
            _ => 0,
        };
        depth == 0
    })?;
    Some((expand(id, rest.get(..end)?).repeat(count), rest.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn texts_are_expanded() {
        let cases: [(&str, &[u8]); 6] = [
            ("$/a", b"/etc/case/c1/a"),
            ("$V/a$I", b"/vol/c1/ac1"),
            ("a\\xff\\_b", b"a\xff b"),
            ("x<2:<3:a>/>y", b"xaaa/aaa/y"),
            ("1 < 2", b"1 < 2"),
            ("echo x >$/a", b"echo x >/etc/case/c1/a"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand("c1", text), expected, "{text}");
        }
    }
}
