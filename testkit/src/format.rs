//! Falco's output formats: which fields they name, and the text they make with their values.

use anyhow::{anyhow, bail, Result};
use serde_json::Value;

/// One part of an output format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// `%field`, `%field[argument]`: the field's name with its argument.
    Field(String),
}

/// Splits an output format such as `shell in a container (command=%proc.cmdline)`. A leading `*` (Falco adds
/// it) is dropped.
///
/// # Errors
/// A `%` that no field follows, or a length or transformer (`%10proc.name`, `%toupper(proc.name)`), which are
/// not supported here.
pub fn parse(format: &str) -> Result<Vec<Part>> {
    let mut rest = format.strip_prefix('*').unwrap_or(format);
    let mut parts = Vec::new();
    while let Some((text, after)) = rest.split_once('%') {
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        let length = field_length(after);
        let (field, following) = after.split_at_checked(length).unwrap_or((after, ""));
        if field.is_empty() {
            bail!("no field follows the `%` before {:?} in output {format:?}", head(after));
        }
        if following.starts_with('(') {
            bail!("transformer {field:?} is not supported in output {format:?}");
        }
        if !field.contains('.') {
            bail!("{field:?} is no field name in output {format:?}");
        }
        if following.starts_with('[') {
            let (argument, after) =
                following.split_once(']').ok_or_else(|| anyhow!("no `]` after %{field}"))?;
            parts.push(Part::Field(format!("{field}{argument}]")));
            rest = after;
        } else {
            parts.push(Part::Field(field.to_owned()));
            rest = following;
        }
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

fn head(text: &str) -> String {
    text.chars().take(12).collect()
}

/// Bytes of the field name at the start of `text`: letters, digits, `_` in parts that begin with a letter,
/// joined by dots; a dot that ends a sentence is not part of it (libsinsp's FieldName).
fn field_length(text: &str) -> usize {
    let mut length = 0;
    for part in text.split('.') {
        let word =
            part.len() - part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
        if word == 0 || !part.starts_with(|c: char| c.is_ascii_alphabetic()) {
            break;
        }
        length += word + usize::from(length > 0);
        if word < part.len() {
            break;
        }
    }
    length
}

/// A field's value as libsinsp prints it: `<NA>` when absent, lists as `(a,b)`, the times in their formats
/// (UTC).
pub fn value(field: &str, value: Option<&Value>) -> String {
    match (field, value) {
        (_, None | Some(Value::Null)) => "<NA>".to_owned(),
        (_, Some(Value::String(text))) => text.clone(),
        (_, Some(Value::Array(items))) => {
            let items: Vec<String> = items.iter().map(|item| self::value(field, Some(item))).collect();
            format!("({})", items.join(","))
        }
        (field, Some(other)) => match (field, other.as_u64()) {
            ("evt.time", Some(ns)) => clock(ns),
            ("evt.datetime", Some(ns)) => format!("{} {}", date(ns), clock(ns)),
            ("evt.time.iso8601", Some(ns)) => format!("{}T{}+0000", date(ns), clock(ns)),
            _ => other.to_string(),
        },
    }
}

/// Nanoseconds since 1970 as RFC 3339 in UTC with nine decimals, as Falco's JSON has it:
/// `2026-11-23T18:13:51.709183122Z`.
pub fn rfc3339(ns: u64) -> String {
    format!("{}T{}Z", date(ns), clock(ns))
}

/// Nanoseconds since 1970 as the time of day in UTC: `18:13:51.709183122`.
pub fn clock(ns: u64) -> String {
    let (seconds, nanos) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let day = seconds % 86_400;
    format!("{:02}:{:02}:{:02}.{nanos:09}", day / 3600, day / 60 % 60, day % 60)
}

/// Nanoseconds since 1970 as the date in UTC. From H. Hinnant's `civil_from_days`: years are counted from
/// March, so that a leap day is the last of its year; 146,097 days are 400 years.
fn date(ns: u64) -> String {
    let days = ns / 1_000_000_000 / 86_400 + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formats_split() {
        let text = |t: &str| Part::Text(t.into());
        let field = |f: &str| Part::Field(f.into());
        let cases = [
            ("plain", vec![text("plain")]),
            ("*%evt.num", vec![field("evt.num")]),
            (
                "a=%proc.name, b=%fd.name.",
                vec![text("a="), field("proc.name"), text(", b="), field("fd.name"), text(".")],
            ),
            ("(%proc.aname[2])", vec![text("("), field("proc.aname[2]"), text(")")]),
            ("%proc.name%proc.pid", vec![field("proc.name"), field("proc.pid")]),
            ("%k8s.ns.name x", vec![field("k8s.ns.name"), text(" x")]),
            ("%drift.image_has_file[/bin/a b]", vec![field("drift.image_has_file[/bin/a b]")]),
            ("%proc.name.2", vec![field("proc.name"), text(".2")]),
        ];
        for (format, want) in cases {
            assert_eq!(parse(format).unwrap(), want, "{format:?}");
        }
        for bad in ["100%", "100% sure", "%proc", "%toupper(proc.name)", "%5proc.name", "%proc.aname[2"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_print_as_libsinsp_does() {
        let cases = [
            ("a.b", json!(null), "<NA>"),
            ("a.b", json!(""), ""),
            ("a.b", json!("x y"), "x y"),
            ("a.b", json!(true), "true"),
            ("a.b", json!(18446744073709551615u64), "18446744073709551615"),
            ("a.b", json!(-1), "-1"),
            ("a.b", json!(["a", "b c"]), "(a,b c)"),
            ("evt.time", json!(1_000_000_007u64), "00:00:01.000000007"),
            ("evt.datetime", json!(86_400_000_000_000u64), "1970-01-02 00:00:00.000000000"),
        ];
        for (field, json, want) in cases {
            assert_eq!(value(field, Some(&json)), want, "{field} {json}");
        }
        assert_eq!(value("a.b", None), "<NA>");
    }

    #[test]
    fn dates_are_right() {
        // date -u -d @N
        let cases = [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
        ];
        for (seconds, want) in cases {
            assert_eq!(rfc3339(seconds * 1_000_000_000), want);
        }
        assert_eq!(rfc3339(1_795_457_631_709_183_122), "2026-11-23T18:13:51.709183122Z");
    }

    proptest::proptest! {
        #[test]
        fn no_format_panics(format in r"([%*.\[\]é ]|[a-z0-9]{1,3}){0,20}") {
            let _ = parse(&format);
        }

        #[test]
        fn no_time_panics(ns: u64) {
            proptest::prop_assert_eq!(rfc3339(ns).len(), 30);
        }
    }
}
