use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.') {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

fn message(flags: u16, asked: &str, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
    let mut out = vec![0x12, 0x34];
    out.extend(flags.to_be_bytes());
    out.extend([0, 1]);
    out.extend((records.len() as u16).to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend(name(asked));
    out.extend([0, 1, 0, 1]);
    for (owner, kind, data) in records {
        out.extend(*owner);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(*data);
    }
    out
}

const POINTER: &[u8] = &[0xc0, 12];

#[test]
fn addresses_are_those_of_the_name_that_was_asked_for() {
    let alias = name("edge.cdn.example");
    let records: &[(&[u8], u16, &[u8])] = &[
        (POINTER, 5, &alias),
        (&alias, 1, &[192, 0, 2, 7]),
        (POINTER, 28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    let whole = message(0x8180, "API.example.com", records);
    let found = parse(&whole).unwrap();
    assert_eq!(found.name, "api.example.com");
    let addresses: Vec<String> = found.addresses.iter().map(IpAddr::to_string).collect();
    assert_eq!(addresses, ["192.0.2.7", "2001:db8::1"]);
    // The engine hands over a message's beginning.
    let cut = parse(&whole[..whole.len() - 1]).unwrap();
    assert_eq!(cut.addresses.len(), 1);
}

#[test]
fn what_is_no_answer_is_none() {
    let a: &[(&[u8], u16, &[u8])] = &[(POINTER, 1, &[192, 0, 2, 7])];
    for (what, bytes) in [
        ("a question", message(0x0100, "a.example", a)),
        ("a failure", message(0x8183, "a.example", a)),
        ("no record", message(0x8180, "a.example", &[])),
        ("another kind", message(0x8180, "a.example", &[(POINTER, 16, b"text")])),
        ("an odd name", message(0x8180, "a b.example", a)),
        ("an escape", message(0x8180, "a\u{1b}[31m.example", a)),
        ("an address of five bytes", message(0x8180, "a.example", &[(POINTER, 1, &[1, 2, 3, 4, 5])])),
        ("nothing", Vec::new()),
    ] {
        assert_eq!(parse(&bytes), None, "{what}");
    }
}

#[test]
fn many_records_are_bounded() {
    let records: Vec<(&[u8], u16, &[u8])> = (0..2000).map(|_| (POINTER, 1, &[192u8, 0, 2, 7][..])).collect();
    assert_eq!(parse(&message(0x8180, "a.example", &records)).unwrap().addresses.len(), MAX_ADDRESSES);
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_damaged_answer_never_panics(at in 0usize..60, byte: u8, cut in 0usize..80) {
        let mut bytes = message(0x8180, "api.example.com", &[(POINTER, 1, &[192, 0, 2, 7]), (POINTER, 1, &[192, 0, 2, 8])]);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes.truncate(cut);
        if let Some(answer) = parse(&bytes) {
            prop_assert!(answer.name.len() <= MAX_NAME && answer.addresses.len() <= MAX_ADDRESSES);
        }
    }
}
